"""The benchmark's figure."""

import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.plotting.style import colour_of, drawing, finished

_PARTS = {"plain": "plain recipe", "training": "this project", "bare": "bare step"}
_HEIGHT, _INCHES_OF_A_ROW, _INCHES_AROUND = 0.26, 0.85, 1.3


def draw_speeds(table: pd.DataFrame) -> Figure:
    """Bars of images per second, a panel for each row of the table, fastest scale of its own.

    Args:
        table: A row for each backbone, batch size and precision (see `measure_speed`).
    """
    with drawing():
        height = _INCHES_AROUND + _INCHES_OF_A_ROW * len(table)
        figure = Figure(figsize=(6.4, height))
        panels = figure.subplots(len(table), 1, squeeze=False)[:, 0]
        for axes, row in zip(panels, table.to_dict("records"), strict=True):
            for at, (part, name) in enumerate(_PARTS.items()):
                speed = row[f"{part}_images_per_second"]
                axes.barh(at, speed, color=colour_of(name), label=name)
                said = f" {speed:.3g}"
                if part != "training":
                    said += f" (×{row[f'against_{part}']:.2f})"
                axes.text(speed, at, said, va="center", fontsize=8)
            axes.set_xlim(0, 1.22 * max(row[f"{part}_images_per_second"] for part in _PARTS))
            axes.invert_yaxis()
            axes.set_yticks([])
            axes.grid(visible=False, axis="y")
            axes.set_title(
                f"{row['backbone']}, {row['crop']}×{row['crop']}, batches of {row['batch_size']}, "
                f"{row['precision']}",
                fontsize=9,
            )
        panels[-1].set_xlabel("Images per second (in brackets: this project against it)")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=3)
        figure.suptitle(f"Training steps on {table['device'].iloc[0]}", x=0.99, ha="right")
        return finished(figure)

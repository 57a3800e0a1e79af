"""The benchmark's figure."""

from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.reports.style import colour_of, drawing, finished

_PARTS = {
    "training": {"plain": "plain recipe", "training": "this project", "bare": "bare step"},
    "scoring": {"scoring": "this project", "forward": "bare forward pass"},
}
_TITLES = {"training": "Training steps", "scoring": "Scoring pictures from their files"}
_INCHES_AROUND = 1.4

Task = Literal["training", "scoring"]


def draw_speeds(table: pd.DataFrame, task: Task) -> Figure:
    """Bars of images per second, a panel for each row of the table, each of its own scale.

    Args:
        table: A row for each backbone, batch size and precision (see `nodes`).
        task: What was measured.
    """
    parts = _PARTS[task]
    with drawing():
        height = _INCHES_AROUND + len(table) * (0.25 + 0.2 * len(parts))
        figure = Figure(figsize=(6.4, height))
        panels = figure.subplots(len(table), 1, squeeze=False)[:, 0]
        for axes, row in zip(panels, table.to_dict("records"), strict=True):
            for at, (part, name) in enumerate(parts.items()):
                speed = row[f"{part}_images_per_second"]
                axes.barh(at, speed, color=colour_of(name), label=name)
                said = f" {speed:.3g}"
                if part != task:
                    said += f" (×{row[f'against_{part}']:.2f})"
                axes.text(speed, at, said, va="center", fontsize=8)
            axes.set_xlim(0, 1.22 * max(row[f"{part}_images_per_second"] for part in parts))
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
        figure.legend(handles, names, loc="outside lower left", ncols=3)
        figure.suptitle(f"{_TITLES[task]} on {table['device'].iloc[0]}", x=0.01, ha="left")
        return finished(figure)

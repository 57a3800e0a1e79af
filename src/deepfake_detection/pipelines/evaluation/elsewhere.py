"""A detector's scores on a set from elsewhere, beside those on its own split."""

import pandas as pd

_KEYS = ["metric", "level", "class_name"]
_FIGURES = ["value", "low", "high", "n"]


def put_beside(external: pd.DataFrame, own: pd.DataFrame | None) -> pd.DataFrame:
    """Put the metrics of two sets side by side.

    The sets hold different images, so there is no paired difference: read the two intervals.

    Args:
        external: The metric table of the set from elsewhere.
        own: That of the detector's own split, or None where it is not known. Its test subset is
            taken, or validation where there is no test.

    Returns:
        A row for each metric, level and class: metric, level, class_name; own_subset, own_value,
        own_low, own_high, own_n; external_value, external_low, external_high, external_n. Classes
        that only one of the two has are missing in the other.
    """
    theirs = _prefixed(external, "external_")
    if own is None:
        empty = [f"own_{name}" for name in ("subset", *_FIGURES)]
        beside = theirs.assign(**dict.fromkeys(empty, float("nan")))
    else:
        subset = "test" if (own["subset"] == "test").any() else "validation"
        ours = _prefixed(own[own["subset"] == subset], "own_").assign(own_subset=subset)
        beside = ours.merge(theirs, on=_KEYS, how="outer", sort=False)
        # in the order of a metric table, which an outer merge loses
        order = {metric: at for at, metric in enumerate(dict.fromkeys(own["metric"]))}
        beside = beside.sort_values(
            "metric", key=lambda names: names.map(order), kind="stable", ignore_index=True
        )
    columns = [f"{whose}_{name}" for whose in ("own", "external") for name in ("subset", *_FIGURES)]
    return beside[[*_KEYS, *(name for name in columns if name != "external_subset")]]


def _prefixed(table: pd.DataFrame, prefix: str) -> pd.DataFrame:
    kept = table[[*_KEYS, *_FIGURES]].astype({"class_name": object})
    return kept.rename(columns={name: f"{prefix}{name}" for name in _FIGURES})

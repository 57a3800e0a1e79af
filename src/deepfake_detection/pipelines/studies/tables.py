"""The tables of a study: its runs, its rows over seeds and folds, what the split method changes."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import pandas as pd

from deepfake_detection.parameters import RunParameters, SplitParameters, StudyParameters
from deepfake_detection.pipelines.studies.plan import SETTINGS

_SUMMARISED = ("best_validation_accuracy", "accuracy", "roc_auc")
_PAIRED = {"best_validation_accuracy": "validation accuracy", "roc_auc": "ROC AUC"}
_NAN = float("nan")


def tabulate_runs(
    study: StudyParameters,
    metrics: Mapping[str, Mapping[str, Any]],
    metric_tables: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """Make the study's table.

    Args:
        study: The study.
        metrics: What `score_run` says of each run.
        metric_tables: The metrics of each run as a table.

    Returns:
        A row for each run: run, row, title, its places on the axes (`axis.…`), seed, fold, model,
        the settings in which runs differ (by their dotted names), split_method, split_ratios,
        split_seed, subset (the one of the scores: test, where there is one), accuracy and roc_auc
        by image with the ends of their intervals, all of `describe_history`, the published figures
        (published_best_epoch, published_validation_accuracy), device, run_fingerprint,
        split_fingerprint.
    """
    flat = {name: dict(_flatten(settings_of(run))) for name, run in study.runs.items()}
    differing = _differing(flat)
    rows = [
        _identify(study, name)
        | {setting: _cell(flat[name].get(setting)) for setting in differing}
        | _read_metrics(metrics[name], metric_tables[name])
        | _published(run)
        for name, run in study.runs.items()
    ]
    table = pd.DataFrame(rows)
    return table.astype({"fold": "Int64", "published_best_epoch": "Int64"})


def _identify(study: StudyParameters, name: str) -> dict[str, Any]:
    run = study.runs[name]
    return {
        "run": name,
        "row": run.row,
        "title": run.title,
        **{f"axis.{axis}": run.labels.get(axis, "") for axis in study.axes},
        "seed": run.training.seed,
        "fold": run.split.fold.number if run.split.fold else None,
        "model": run.model,
    }


def settings_of(run: RunParameters) -> dict[str, Any]:
    """The settings in which a run may differ from others, beside its model, seed and fold."""
    content = run.model_dump(mode="json", include=set(SETTINGS))
    content["preprocessing"] = run.preprocessing.model_dump(mode="json")
    # seed, fold and model have columns of their own
    for block, name in ((content, "backbones"), (content, "model"), (content["training"], "seed"),
                        (content["split"], "fold")):  # fmt: skip
        del block[name]
    return content


def _flatten(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _differing(flat: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for settings in flat.values() for name in settings)
    return [
        name
        for name in names
        if any(a.get(name) != b.get(name) for a, b in pairwise(flat.values()))
    ]


def _cell(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _read_metrics(metrics: Mapping[str, Any], metric_table: pd.DataFrame) -> dict[str, Any]:
    split = metrics["split"]
    subset = "test" if (metric_table["subset"] == "test").any() else "validation"
    by_image = metric_table[(metric_table["subset"] == subset) & (metric_table["level"] == "image")]
    figures = {line["metric"]: line for line in by_image.to_dict("records")}
    scores = {
        f"{metric}{end}": figures[metric][key]
        for metric in ("accuracy", "roc_auc")
        for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    return {
        "split_method": split["method"],
        "split_ratios": say_ratios(split["ratios"]),
        "split_seed": split["seed"],
        "subset": subset,
        **scores,
        **metrics["trained"],
        "device": metrics["computed_on"].get("device"),
        "run_fingerprint": metrics["run_fingerprint"],
        "split_fingerprint": split["fingerprint"],
    }


def _published(run: RunParameters) -> dict[str, Any]:
    published = run.published
    return {
        "published_best_epoch": published.best_epoch if published else None,
        "published_validation_accuracy": (
            published.validation_accuracy
            if published and published.validation_accuracy is not None
            else _NAN
        ),
    }


def summarise_rows(study: StudyParameters, table: pd.DataFrame) -> pd.DataFrame:
    """Summarise each row over its seeds and folds.

    Returns:
        A row for each row and metric: row, title, metric, subset, runs, mean, standard_deviation
        (of single runs, with n − 1; missing for one), lowest, highest; and pooled, pooled_low,
        pooled_high, which only out-of-fold predictions fill.
    """
    rows = []
    for row in study.rows:
        runs = table[table["row"] == row]
        for metric in _SUMMARISED:
            values = runs[metric].dropna()
            rows.append(
                {
                    "row": row,
                    "title": runs["title"].iloc[0],
                    "metric": metric,
                    "subset": _subset_of(metric, runs),
                    "runs": len(values),
                    "mean": values.mean(),
                    "standard_deviation": values.std() if len(values) > 1 else _NAN,
                    "lowest": values.min(),
                    "highest": values.max(),
                    "pooled": _NAN,
                    "pooled_low": _NAN,
                    "pooled_high": _NAN,
                }
            )
    return pd.DataFrame(rows)


def _subset_of(metric: str, runs: pd.DataFrame) -> str:
    validated = metric == "best_validation_accuracy"
    return "validation" if validated else str(runs["subset"].iloc[0])


def compare_split_methods(study: StudyParameters, table: pd.DataFrame) -> pd.DataFrame:
    """Compare rows that differ in nothing but the method of their split.

    Two methods score two different sets of images, so there is no paired difference; training on
    the same seeds is all that the two have in common.

    Returns:
        A row for each pair and metric: title, metric, subset, individual, group (means over
        seeds), inflation (the first minus the second), standard_deviation (of the inflation over
        seeds; missing for one), runs.
    """
    indexed = table.set_index("run")
    rows = []
    for individual, grouped in pairs_of_methods(study):
        names = [study.rows[row] for row in (individual, grouped)]
        both = [indexed.loc[each] for each in names]
        for metric, said in _PAIRED.items():
            values = [each[metric].to_numpy(dtype=float) for each in both]
            differences = values[0] - values[1]
            rows.append(
                {
                    "title": _say_pair(study.runs[names[0][0]]),
                    "metric": said,
                    "subset": _subset_of(metric, both[0]),
                    "individual": values[0].mean(),
                    "group": values[1].mean(),
                    "inflation": differences.mean(),
                    "standard_deviation": differences.std(ddof=1) if len(differences) > 1 else _NAN,
                    "runs": len(differences),
                }
            )
    columns = ["title", "metric", "subset", "individual", "group", "inflation",
               "standard_deviation", "runs"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def pairs_of_methods(study: StudyParameters) -> list[tuple[str, str]]:
    """Rows that differ in nothing but their split's method: the individual one, the grouped one."""
    alike: dict[str, dict[str, str]] = {}
    for row, runs in study.rows.items():
        run = study.runs[runs[0]]
        others = run.model_dump(mode="json", include=set(SETTINGS))
        method = others["split"].pop("method")
        alike.setdefault(str(others), {})[method] = row
    return [(both["individual"], both["group"]) for both in alike.values() if len(both) > 1]


def _say_pair(run: RunParameters) -> str:
    return f"{run.model}, {say_ratios(run.split.shares.model_dump())}"


def say_ratios(ratios: Mapping[str, float]) -> str:
    """Ratios in per cent, `80 : 20`, with test where there is one."""
    shares = [ratios["train"], ratios["validation"], ratios["test"]]
    return " : ".join(f"{share * 100:.4g}" for share in shares[: 3 if shares[2] > 0 else 2])


def say_split(study: StudyParameters) -> str:
    """The split of all runs in words, or how many there are."""
    splits = list(study.splits.values())
    if study.folds:
        return f"{splits[0].method} split, {study.folds} folds, seed {splits[0].seed}"
    return _say_one_split(splits[0]) if len(splits) == 1 else f"{len(splits)} splits"


def _say_one_split(split: SplitParameters) -> str:
    return f"{split.method} split, {say_ratios(split.shares.model_dump())}, seed {split.seed}"

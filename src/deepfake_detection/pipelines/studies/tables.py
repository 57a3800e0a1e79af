"""The tables of a study: runs, rows over seeds and folds, inflation by individual splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from deepfake_detection.metrics.scored import AUC_OF_KIND, RECALL_OF_KIND
from deepfake_detection.parameters import StudyParameters
from deepfake_detection.pipelines.studies.plan import SETTINGS

BEST = "best_validation_accuracy"
# The reference's figure beside ours, by column
PUBLISHED = {BEST: "published_validation_accuracy", "best_epoch": "published_best_epoch"}
_SUMMARISED = (BEST, "accuracy", "roc_auc")
_PAIRED = {BEST: "validation accuracy", "roc_auc": "ROC AUC"}
_NAN = float("nan")


def describe_history(history: pd.DataFrame) -> dict[str, Any]:
    """Describe a training history in numbers.

    Returns:
        epochs; best_epoch (the first with the highest validation accuracy), its
        best_validation_accuracy and train_accuracy; fall_after_best (best minus last validation
        accuracy); seconds; and over the second half of the epochs accuracy_gap (mean of train
        minus validation accuracy) and roughness (mean absolute change of validation accuracy
        between epochs; None for a single epoch).
    """
    validation = history["validation_accuracy"]
    best = int(validation.argmax())
    half = len(history) // 2
    late = history.iloc[half:]
    changes = validation.diff().abs().iloc[max(half, 1) :]
    return {
        "epochs": len(history),
        "best_epoch": int(history["epoch"].iloc[best]),
        BEST: float(validation.iloc[best]),
        "train_accuracy": float(history["train_accuracy"].iloc[best]),
        "accuracy_gap": float((late["train_accuracy"] - late["validation_accuracy"]).mean()),
        "roughness": float(changes.mean()) if len(changes) else None,
        "fall_after_best": float(validation.iloc[best] - validation.iloc[-1]),
        "seconds": float(history["seconds"].sum()),
    }


def tabulate_runs(
    study: StudyParameters,
    metrics: Mapping[str, Mapping[str, Any]],
    metric_tables: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """Make the study's table from the metrics of each run.

    Returns:
        A row for each run: run, row, title, its places on the axes (`axis.…`), seed, fold, model,
        the settings in which runs differ (by dotted names), split_method, split_ratios,
        split_seed, subset (test, else validation), accuracy and roc_auc on it by image with their
        intervals (`_low`, `_high`), all of `describe_history`, the interval of
        best_validation_accuracy, published_best_epoch, published_validation_accuracy, device,
        run_fingerprint, split_fingerprint.
    """
    settings = flatten_runs(study)
    differing = settings.loc[:, settings.astype(str).nunique() > 1]
    rows: list[dict[Any, Any]] = []
    for name, run in study.runs.items():
        published = run.published.model_dump() if run.published else {}
        rows.append(
            {
                "run": name,
                "row": run.row,
                "title": run.title,
                **{f"axis.{axis}": run.labels.get(axis, "") for axis in study.axes},
                "seed": run.training.seed,
                "fold": run.split.fold.number if run.split.fold else None,
                "model": run.model,
                **differing.loc[name].to_dict(),
                **_read_metrics(metrics[name], metric_tables[name]),
                "published_best_epoch": published.get("best_epoch"),
                "published_validation_accuracy": published.get("validation_accuracy"),
            }
        )
    return pd.DataFrame(rows).astype(
        {"fold": "Int64", "published_best_epoch": "Int64", "published_validation_accuracy": float}
    )


def flatten_runs(study: StudyParameters) -> pd.DataFrame:
    """The settings of each run by dotted names, but for model, seed and fold: [runs, settings]."""
    contents = []
    for run in study.runs.values():
        content = run.model_dump(mode="json", include=set(SETTINGS) - {"backbones", "model"})
        del content["training"]["seed"], content["split"]["fold"]
        contents.append(content | {"preprocessing": run.preprocessing.model_dump(mode="json")})
    flat = pd.json_normalize(contents).astype(object).set_axis(list(study.runs), axis="index")
    return flat.map(lambda value: ", ".join(map(str, value)) if isinstance(value, list) else value)


def shared_settings(study: StudyParameters) -> dict[str, dict[str, Any]]:
    """The settings that all runs have in common, by block and dotted name."""
    settings = flatten_runs(study)
    shared: dict[str, dict[str, Any]] = {}
    for name, value in settings.loc[:, settings.astype(str).nunique() == 1].iloc[0].items():
        block, _, rest = str(name).partition(".")
        shared.setdefault(block, {})[rest] = value
    return shared


def read_text(study: StudyParameters, table: pd.DataFrame) -> pd.DataFrame:
    """The study's table with its text as it was before it was written to a CSV file."""
    runs = [study.runs[name] for name in table["run"]]
    axes = {f"axis.{axis}": [run.labels.get(axis, "") for run in runs] for axis in study.axes}
    return table.assign(
        title=[run.title for run in runs], verdict=table["verdict"].fillna(""), **axes
    )


def _read_metrics(metrics: Mapping[str, Any], metric_table: pd.DataFrame) -> dict[str, Any]:
    split = metrics["split"]
    of_table = (metric_table["level"] == "image") & metric_table["metric"].isin(_SUMMARISED)
    by_place = metric_table[of_table].set_index(["subset", "metric"])[["value", "low", "high"]]
    subset = "test" if "test" in by_place.index else "validation"
    scores: dict[str, float] = {}
    # the best epoch's accuracy is that of the threshold 0.5
    validated = "validation" if metrics["threshold"] == 0.5 else ""
    for name, place in {
        "accuracy": (subset, "accuracy"),
        "roc_auc": (subset, "roc_auc"),
        BEST: (validated, "accuracy"),
    }.items():
        value, low, high = by_place.reindex([place]).to_numpy()[0]
        scores |= {name: value, f"{name}_low": low, f"{name}_high": high}
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


def select_results(results: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The results of one kind by run or split: `{"metrics:baseline": …}` as `{"baseline": …}`."""
    parts = ((name.partition(":"), result) for name, result in results.items())
    return {name: result for (its_kind, _, name), result in parts if its_kind == kind}


def summarise_rows(
    study: StudyParameters, table: pd.DataFrame, fold_metrics: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Summarise each row over its seeds and folds.

    Returns:
        row, title, metric, subset, runs, mean, standard_deviation (with n − 1), lowest, highest;
        and, in a cross-validation, all_folds: the metric of all folds by image, with its interval
        all_folds_low, all_folds_high (of several seeds the mean, without an interval).
    """
    about = table.groupby("row", sort=False)[["title", "subset"]].first()
    long = table.melt("row", list(_SUMMARISED), "metric").groupby(["row", "metric"])["value"]
    order = pd.MultiIndex.from_product([list(study.rows), _SUMMARISED], names=["row", "metric"])
    aggregated = long.agg(
        runs="count", mean="mean", standard_deviation="std", lowest="min", highest="max"
    )
    summary = about.join(aggregated.reindex(order)).reset_index()
    summary["subset"] = summary["subset"].mask(summary["metric"] == BEST, "validation")
    summary.insert(3, "subset", summary.pop("subset"))
    columns = {"value": "all_folds", "low": "all_folds_low", "high": "all_folds_high"}
    if fold_metrics is None:
        return summary.assign(**dict.fromkeys(columns.values(), _NAN))
    by_metric = fold_metrics[fold_metrics["level"] == "image"].groupby(["row", "metric"])
    folds = by_metric[list(columns)].mean()
    folds.loc[by_metric.size() > 1, ["low", "high"]] = _NAN
    return summary.join(folds.rename(columns=columns), on=["row", "metric"])


def tabulate_kinds(study: StudyParameters, **metric_tables: pd.DataFrame) -> pd.DataFrame:
    """The scores of each run on each kind of fake of its test subset, by image.

    `metric_tables` are `metric_table:RUN`.

    Returns:
        A row for each run and kind: row, run, title, class_name, left_out (whether the run was
        trained without it), subset, n (images of the kind), recall and roc_auc (against the real
        images) with their intervals (`_low`, `_high`).
    """
    tables = select_results(metric_tables, "metric_table")
    rows = []
    for name, run in study.runs.items():
        table = tables[name]
        subset = "test" if "test" in set(table["subset"]) else "validation"
        here = table[(table["level"] == "image") & (table["subset"] == subset)]
        recalls, areas = (
            here[here["metric"] == metric].set_index("class_name")
            for metric in (RECALL_OF_KIND, AUC_OF_KIND)
        )
        for kind, recall in recalls.iterrows():
            ends = ("value", "low", "high")
            named = (("recall", recall), ("roc_auc", areas.loc[kind]))
            rows.append(
                {
                    "row": run.row,
                    "run": name,
                    "title": run.title,
                    "class_name": kind,
                    "left_out": kind in run.split.left_out,
                    "subset": subset,
                    "n": recall["n"],
                    **{
                        f"{score}_{end}".removesuffix("_value"): values[end]
                        for score, values in named
                        for end in ends
                    },
                }
            )
    return pd.DataFrame(rows)


def leaves_out(study: StudyParameters) -> bool:
    """Whether a run of the study leaves a class of fakes out of training."""
    return any(run.split.leave_out is not None for run in study.runs.values())


def compare_split_methods(study: StudyParameters, table: pd.DataFrame) -> pd.DataFrame:
    """Compare rows that differ only in the method of their split.

    Returns:
        A row for each pair and metric: title, metric, subset, individual, group (means over
        seeds), inflation (the first minus the second; the images differ, so it is not paired),
        standard_deviation (of the inflation over seeds), runs.
    """
    indexed = table.set_index("run")
    parts = []
    for individual, grouped in pairs_of_methods(study):
        run = study.runs[study.rows[grouped][0]]
        ours, theirs = (
            indexed.loc[study.rows[row], list(_PAIRED)].reset_index(drop=True)
            for row in (individual, grouped)
        )
        inflation = ours - theirs
        scores = {"individual": ours.mean(), "group": theirs.mean(), "inflation": inflation.mean()}
        part = pd.DataFrame(scores | {"standard_deviation": inflation.std()})
        part.insert(0, "title", f"{run.model}, {say_ratios(run.split.shares.model_dump())}")
        part.insert(1, "metric", list(_PAIRED.values()))
        part.insert(2, "subset", ["validation", indexed["subset"].iloc[0]])
        parts.append(part.assign(runs=len(inflation)))
    return pd.concat(parts, ignore_index=True)


def pairs_of_methods(study: StudyParameters) -> list[tuple[str, str]]:
    """Rows that differ only in their split's method: the individual one, the grouped one."""
    alike: dict[str, dict[str, str]] = {}
    for row, runs in study.rows.items():
        settings = study.runs[runs[0]].model_dump(mode="json", include=set(SETTINGS))
        method = settings["split"].pop("method")
        alike.setdefault(str(settings), {})[method] = row
    pairs = (both for both in alike.values() if {"individual", "group"} <= both.keys())
    return [(both["individual"], both["group"]) for both in pairs]


def say_ratios(ratios: Mapping[str, float]) -> str:
    """Ratios in per cent, `80 : 20`; with test only where it is above 0."""
    shares = [ratios["train"], ratios["validation"], ratios["test"]]
    return " : ".join(f"{share * 100:.4g}" for share in shares[: 3 if shares[2] > 0 else 2])


def say_apart(ours: float, published: float, unit: str) -> str:
    """How much higher our figure is, in percentage `points` or `epochs`; empty if one is missing.

    >>> say_apart(0.9873, 0.9858, "points")
    '+0.15 points'
    """
    if pd.isna(ours) or pd.isna(published):
        return ""
    apart = ours - published
    said = f"{100 * apart:+.2f}" if unit == "points" else f"{apart:+.0f}"
    return f"{said} {unit}".replace("-", "\N{MINUS SIGN}")


def say_split(study: StudyParameters) -> str:
    """The split of all runs in words, or how many there are."""
    first, *others = study.splits.values()
    if others and not study.folds:
        return f"{len(others) + 1} splits"
    parts = f"{study.folds} folds" if study.folds else say_ratios(first.shares.model_dump())
    return f"{first.method} split, {parts}, seed {first.seed}"


@dataclass(frozen=True)
class StudyResults:
    """What the figures and the page of a study are made of; `notes` are shown first."""

    study: StudyParameters
    table: pd.DataFrame  # of `tabulate_runs`, with `verdict`: chosen, tied, overfit or ""
    summary: pd.DataFrame  # of `summarise_rows`
    inflation: pd.DataFrame | None  # of `compare_split_methods`; None where no rows differ so
    choice: Mapping[str, Any]  # of `choose_row`
    histories: Mapping[str, pd.DataFrame]  # the training history of each run
    notes: Sequence[str] = ()
    steps: pd.DataFrame | None = None  # of `compare_steps`; None where the study is not cumulative
    kinds: pd.DataFrame | None = None  # of `tabulate_kinds`; None where no class is left out
    reports: Mapping[str, str] = field(default_factory=dict)  # path in the study's folder, by run

    @property
    def rows(self) -> list[tuple[str, str, pd.DataFrame]]:
        """Each row's name and title, and the runs that repeat it, in the table's order."""
        groups = self.table.groupby("row", sort=False)
        return [(str(row), str(runs["title"].iloc[0]), runs) for row, runs in groups]

    @property
    def is_repeated(self) -> bool:
        """Whether any row has several runs."""
        return bool(self.table["row"].duplicated().any())

    @property
    def chosen_runs(self) -> pd.DataFrame:
        """The runs of the chosen row; empty where no row is chosen."""
        return self.table[self.table["row"] == self.choice["chosen"]]

    def accuracy_of_all_folds(self, row: str) -> pd.Series | None:
        """The summary of a row's accuracy in a cross-validation, else None."""
        summary = self.summary
        found = summary[(summary["row"] == row) & (summary["metric"] == "accuracy")]
        return None if found["all_folds"].isna().all() else found.iloc[0]

"""Results such as studies leave behind, from made-up histories."""

import hashlib
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detection.pipelines.studies.results import StudyResults

SPLIT = "5eed" * 16
FINE_TUNING = {
    "baseline": ("Baseline", 0.0, "none", 1e-4, 7, 0.990833),
    "step": ("Baseline + StepLR", 0.0, "step", 1e-4, 12, 0.994167),
    "l2": ("Baseline + L2", 1e-2, "none", 1e-4, 15, 0.985833),
    "l2_1e-2_step": ("Baseline + L2 (1e-2) + StepLR", 1e-2, "step", 1e-4, 17, 0.993333),
    "l2_1e-3_step": ("Baseline + L2 (1e-3) + StepLR", 1e-3, "step", 1e-4, 17, 0.993333),
    "l2_1e-4_step": ("Baseline + L2 (1e-4) + StepLR", 1e-4, "step", 1e-4, 10, 0.992917),
    "l2_1e-3_step5": ("Baseline + L2 (1e-3) + StepLR + lr 0.005", 1e-3, "step", 5e-4, 12, 0.992083),
    "l2_1e-4_step5": ("Baseline + L2 (1e-4) + StepLR + lr 0.005", 1e-4, "step", 5e-4, 17, 0.993333),
    "l2_1e-3_step8": ("Baseline + L2 (1e-3) + StepLR + lr 0.008", 1e-3, "step", 8e-4, 10, 0.985417),
    "l2_1e-4_step8": ("Baseline + L2 (1e-4) + StepLR + lr 0.008", 1e-4, "step", 8e-4, 17, 0.9875),
}  # fmt: skip
SCHEDULES = {name: name for name in ("none", "step", "exponential", "cosine")}


def trained(epochs: int, reaches: float, draw: int) -> pd.DataFrame:
    """A history whose validation accuracy rises to about `reaches`, bumpily."""
    generator = np.random.default_rng(draw)
    epoch = np.arange(1, epochs + 1)
    rising = 1 - np.exp(-epoch / 1.6)
    accuracy = 0.5 + (reaches - 0.5) * rising + generator.normal(0, (1 - reaches) / 5, epochs)
    train = 0.5 + (min(reaches + 0.01, 1) - 0.5) * (1 - np.exp(-epoch / 1.4))
    return pd.DataFrame(
        {
            "epoch": epoch,
            "learning_rate": 1e-4,
            "head_learning_rate": 1e-3,
            "train_loss": 0.69 * np.exp(-epoch / 2.5) + 0.003,
            "train_accuracy": np.clip(train, 0, 1),
            "validation_loss": 0.6 * np.exp(-epoch / 2.5) + 0.02 + 0.001 * epoch,
            "validation_accuracy": np.clip(accuracy, 0, 1),
            "seconds": 12.5,
            "images_per_second": 480.0,
        }
    )


def run_of(history: pd.DataFrame, subset: str = "validation", **given: Any) -> dict[str, Any]:
    """A row of a study's table, from its history."""
    accuracy = history["validation_accuracy"]
    best = int(accuracy.argmax())
    later = history.iloc[len(history) // 2 :]
    score = accuracy[best] - (0.004 if subset == "test" else 0)
    return {
        "row": given["run"],
        "title": given["run"],
        "seed": 0,
        "fold": np.nan,
        "model": "inception_v3",
        "split_method": "individual",
        "split_ratios": "80 : 20",
        "split_seed": 0,
        "subset": subset,
        "accuracy": score,
        "accuracy_low": score - 0.012,
        "accuracy_high": min(score + 0.006, 1),
        "roc_auc": min(score + 0.005, 1),
        "roc_auc_low": score - 0.004,
        "roc_auc_high": min(score + 0.009, 1),
        "best_epoch": best + 1,
        "epochs": len(history),
        "best_validation_accuracy": accuracy[best],
        "train_accuracy": history["train_accuracy"][best],
        "accuracy_gap": (later["train_accuracy"] - later["validation_accuracy"]).mean(),
        "roughness": later["validation_accuracy"].diff().abs().mean(),
        "fall_after_best": accuracy[best] - accuracy.iloc[-1],
        "published_best_epoch": np.nan,
        "published_validation_accuracy": np.nan,
        "verdict": "",
        "seconds": 250.5,
        "device": "cpu",
        "run_fingerprint": hashlib.sha256(given["run"].encode()).hexdigest(),
        "split_fingerprint": SPLIT,
        **given,
    }


def study_of(
    runs: list[dict[str, Any]], histories: dict[str, pd.DataFrame], **changed: Any
) -> StudyResults:
    """The results of these runs; what is chosen is the first row unless given."""
    table = pd.DataFrame(runs)
    chosen = changed.pop("chosen", table["row"].iloc[0])
    title = table.loc[table["row"] == chosen, "title"].iloc[0] if chosen else None
    table.loc[table["row"] == chosen, "verdict"] = "chosen"
    return StudyResults(
        **{
            "name": "fine_tuning",
            "heading": "How weight decay, schedule and learning rate change inception_v3",
            "notes": (),
            "split_in_words": "individual split, 80 : 20, seed 0",
            "table": table,
            "summary": summarised(table),
            "inflation": pd.DataFrame(),
            "choice": {
                "rule": "the highest best validation accuracy among runs that are not above 0.99",
                "chosen": chosen,
                "title": title,
                "reason": "no run that is not above 0.99 has a higher one",
                "ruled_out": [],
            },
            "histories": histories,
            "axes": {},
            "overfit_above": 0.99,
            "settings": {"model": "inception_v3", "training": {"epochs": 20, "batch_size": 64}},
            **changed,
        }
    )


def summarised(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for row, runs in table.groupby("row", sort=False):
        for metric in ("best_validation_accuracy", "accuracy", "roc_auc"):
            values = runs[metric]
            folds = runs["fold"].notna().all() and metric != "best_validation_accuracy"
            rows.append(
                {
                    "row": row,
                    "title": runs["title"].iloc[0],
                    "metric": metric,
                    "subset": "validation" if metric.startswith("best") else runs["subset"].iloc[0],
                    "runs": len(runs),
                    "mean": values.mean(),
                    "standard_deviation": values.std(),
                    "lowest": values.min(),
                    "highest": values.max(),
                    "pooled": values.mean() if folds else np.nan,
                    "pooled_low": values.mean() - 0.02 if folds else np.nan,
                    "pooled_high": values.mean() + 0.015 if folds else np.nan,
                }
            )
    return pd.DataFrame(rows)


def fine_tuning(epochs: int = 20, seeds: int = 1, subset: str = "validation", rows: int = 10):
    """The ten rows of the seed, which differ in schedule, weight decay and learning rate."""
    runs, histories = [], {}
    for place, (row, told) in enumerate(list(FINE_TUNING.items())[:rows]):
        title, decay, schedule, rate, published_epoch, published = told
        for seed in range(seeds):
            run = row if seeds == 1 else f"{row}.seed_{seed}"
            history = trained(epochs, published - 0.001, 10 * place + seed)
            histories[run] = history
            found = run_of(
                history,
                subset,
                run=run,
                row=row,
                title=title,
                seed=seed,
                published_best_epoch=published_epoch,
                published_validation_accuracy=published,
                **{
                    "training.optimizer.weight_decay": decay,
                    "training.schedule.name": schedule,
                    "training.optimizer.lr": rate,
                },
            )
            if found["best_validation_accuracy"] > 0.99:
                found["verdict"] = "overfit"
            runs.append(found)
    chosen = min(runs, key=lambda run: (run["verdict"] == "overfit", -run["accuracy"]))
    ruled_out = sorted({run["title"] for run in runs if run["verdict"] == "overfit"})
    results = study_of(runs, histories, chosen=chosen["row"])
    results.choice["ruled_out"].extend(ruled_out)
    return results


BACKBONES = ("resnet18", "vgg16", "inception_v3")


def comparison(
    epochs: int = 20,
    seeds: int = 1,
    subset: str = "test",
    backbones: tuple[str, ...] = BACKBONES,
    ratios: tuple[str, ...] = ("80", "70"),
) -> StudyResults:
    """Backbones, ratios and two ways to split."""
    axes = {
        "backbone": [*backbones],
        "ratio": [*ratios],
        "method": ["individual", "group"],
    }
    runs, histories = [], {}
    for place, (backbone, ratio, method) in enumerate(product(*axes.values())):
        shares = f"{ratio} : {100 - int(ratio)}"
        for seed in range(seeds):
            row = f"{backbone}_{ratio}_{method}"
            run = row if seeds == 1 else f"{row}.seed_{seed}"
            reaches = 0.97 + 0.002 * place if method == "individual" else 0.83 + 0.005 * place
            histories[run] = trained(epochs, reaches, 100 + 10 * place + seed)
            runs.append(
                run_of(
                    histories[run],
                    subset,
                    run=run,
                    row=row,
                    title=f"{backbone}, {shares}, {method}",
                    seed=seed,
                    model=backbone,
                    split_method=method,
                    split_ratios=shares,
                    split_fingerprint=f"{place % 4 + 1}" * 64,
                    **{
                        "axis.backbone": backbone,
                        "axis.ratio": ratio,
                        "axis.method": method,
                        "split.method": method,
                        "split.ratios.train": int(ratio) / 100,
                    },
                )
            )
    return study_of(
        runs,
        histories,
        name="comparison",
        heading="Three backbones, two ratios and two ways to split",
        split_in_words="4 splits",
        axes=axes,
        inflation=inflated(pd.DataFrame(runs), seeds),
        overfit_above=None,
        settings={"training": {"epochs": epochs, "optimizer": {"betas": [0.9, 0.999]}}},
    )


def inflated(table: pd.DataFrame, seeds: int) -> pd.DataFrame:
    rows = []
    for (backbone, ratios), pair in table.groupby(["axis.backbone", "split_ratios"], sort=False):
        for metric, column in (
            ("validation accuracy", "best_validation_accuracy"),
            ("ROC AUC", "roc_auc"),
        ):
            scores = pair.groupby("split_method")[column].mean()
            rows.append(
                {
                    "title": f"{backbone}, {ratios}",
                    "metric": metric,
                    "subset": "validation" if "validation" in metric else pair["subset"].iloc[0],
                    "individual": scores["individual"],
                    "group": scores["group"],
                    "inflation": scores["individual"] - scores["group"],
                    "standard_deviation": 0.011 if seeds > 1 else np.nan,
                    "runs": seeds,
                }
            )
    return pd.DataFrame(rows)


def schedules(epochs: int = 20, titles: dict[str, str] = SCHEDULES) -> StudyResults:
    """One row for each schedule."""
    histories = {
        name: trained(epochs, 0.975 + 0.005 * place, place) for place, name in enumerate(titles)
    }
    runs = [
        run_of(histories[name], run=name, title=title, **{"training.schedule.name": name})
        for name, title in titles.items()
    ]
    return study_of(runs, histories, name="lr_schedules", heading="Four schedules")


def folds(epochs: int = 12, number: int = 5) -> StudyResults:
    """One row, trained once for each fold."""
    histories = {f"default.fold_{i}": trained(epochs, 0.85 + 0.01 * i, i) for i in range(number)}
    runs = [
        run_of(
            history,
            run=run,
            row="default",
            title="inception_v3",
            fold=fold,
            split_method="group",
            split_fingerprint=f"{fold}" * 64,
        )
        for fold, (run, history) in enumerate(histories.items())
    ]
    return study_of(
        runs,
        histories,
        name="cross_validation",
        heading="One recipe over five folds",
        split_in_words="group split, 5 folds, seed 0",
        overfit_above=None,
    )

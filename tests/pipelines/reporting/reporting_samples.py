"""Tables and pictures such as a small run leaves behind."""

import numpy as np
import pandas as pd
from explanation_samples import EVALUATION, make_predictions, put_pictures
from markupsafe import Markup

from deepfake_detection.metrics.cases import ExplainedCase
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.parameters import ReportingParameters
from deepfake_detection.reports.embedded_figures import PageFigure

RUN = "c0ffee" * 10
SPLIT = "5eed" * 16
MANIFEST = {
    "started": "2026-11-26T01:02:03+00:00", "command": "kedro run --env demo", "commit": "c0ffee1",
    "elapsed": "0:02:12",
    "read": {}, "written": {"detector": "2026-11-26T01.02.03.000Z"}, "data": "data/demo",
    "hardware": {"machine": "x86_64", "cores": 2, "accelerators": []},
    "versions": {"kedro": "1.7.0"},
}  # fmt: skip
PARAMETERS = ReportingParameters(gallery_size=24, gallery_columns=6, label_issues_shown=12)

# one empty element stands for every figure: drawing them takes most of the time of a page
FIGURES = {
    name: PageFigure(name, f"what {name} shows", Markup('<svg id="figure-{}"></svg>').format(name))
    for name in (
        "loss_curve", "accuracy_curve", "score_histogram", "confusion_matrix", "roc_curve",
        "precision_recall_curve", "reliability_diagram", "robustness", "error_measures",
        "shortcuts",
    )
}  # fmt: skip


def predict(subset, rows):
    """Predictions from (path, label, logit); five images of a class are one source."""
    return make_predictions(rows, subset, images_of_source=5)


def predict_at_random(subset, images, seed=0):
    generator = np.random.default_rng(seed)
    names = ["real", "fake_deepfake", "fake_face2face"]
    logits = generator.normal(np.where(np.arange(images) % 3, 1.2, -1.2), 1.2)
    rows = [(f"{names[i % 3]}/{i}.png", int(i % 3 > 0), each) for i, each in enumerate(logits)]
    return predict(subset, rows)


def measure(predictions):
    rows = []
    for subset, part in predictions.groupby("subset", sort=False):
        note = "validation also chose the epoch" if subset == "validation" else None
        right = part["label"] == part["predicted"]
        fakes = part["label"] == 1
        for level in ("image", "source"):
            same = {"subset": subset, "level": level, "note": note}
            rows += [
                {**same, "metric": "accuracy", "value": right.mean(), "n": len(part)},
                {**same, "metric": "roc_auc", "value": np.nan, "n": len(part), "note": "one class"},
                {**same, "metric": "false_negatives", "value": (fakes & ~right).sum(), "n": 2},
            ]
            rows += [
                {**same, "metric": "recall", "class_name": name, "value": right[of].mean(), "n": 3}
                for name, of in (("fake", fakes), ("real", ~fakes))
            ]
            rows += [
                {**same, "metric": "recall_of_kind", "class_name": kind, "value": 0.5, "n": len(of)}
                for kind, of in part[fakes].groupby("class_name")
            ]
    return pd.DataFrame(rows)


def trained_for(epochs):
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {
            "epoch": epoch, "learning_rate": 1e-4, "head_learning_rate": 1e-3,
            "train_loss": 0.7 / epoch, "train_accuracy": 1 - 0.4 / epoch,
            "validation_loss": 0.7 / epoch + 0.05, "validation_accuracy": 0.9 - 0.3 / epoch,
            "seconds": 12.5, "images_per_second": 480.0, "run_fingerprint": RUN,
        }
    )  # fmt: skip


def explain(predictions, of_each=100, crop=28):
    """The false cases and as many of the right ones, each with a round spot of heat."""
    kinds = {
        "false negative": (1, 0), "false positive": (0, 1),
        "certain fake": (1, 1), "certain real": (0, 0),
    }  # fmt: skip
    rows, columns = np.mgrid[:crop, :crop] / crop
    heat = np.exp(-((columns - 0.4) ** 2 + (rows - 0.5) ** 2) / 0.04).astype(np.float32)
    cases = []
    for kind, (label, called) in kinds.items():
        is_kind = (predictions["label"] == label) & (predictions["predicted"] == called)
        ordered = predictions[is_kind].sort_values(["logit", "path"], ascending=[not called, True])
        cases += [
            ExplainedCase(
                row.path, kind, row.class_name, row.source, row.fake_probability, heat,
                box=(0.1, 0.1, 0.9, 0.9),
            )
            for row in ordered.head(of_each).itertuples()
        ]  # fmt: skip
    return cases


def distort(accuracy=0.85, run=RUN):
    """A robustness table in which accuracy falls with every strength."""
    rows = []
    tried = [("none", 0.0, "undistorted")]
    tried += [("jpeg", quality, f"JPEG quality {quality:g}") for quality in (90.0, 50.0, 10.0)]
    tried += [("blur", sigma, f"blurred by {sigma:g} px") for sigma in (1.0, 2.0)]
    for place, (distortion, strength, name) in enumerate(tried):
        same = {
            "run_fingerprint": run, "subset": "test", "distortion": distortion,
            "strength": strength, "strength_name": name, "n": 60, "note": None,
        }  # fmt: skip
        of_class = [("recall", "fake"), ("recall", "real")]
        for metric, class_name in [("accuracy", None), ("roc_auc", None), *of_class]:
            change = -0.03 * place
            value = accuracy + change
            ends = {"value": value, "low": value - 0.05, "high": value + 0.05}
            if place:
                ends |= {
                    "difference": change, "difference_low": change - 0.02,
                    "difference_high": change + 0.02, "corrected_low": change - 0.04,
                    "corrected_high": change + 0.04,
                }  # fmt: skip
            rows.append({**same, "metric": metric, "class_name": class_name, **ends})
    return pd.DataFrame(rows)


def compare_measures(run=RUN):
    """A table of false case measures in which one of all comparisons differs."""
    rows = [
        {
            "run_fingerprint": run, "subset": "test", "label": label, "kind": kind,
            "region": region, "measure": measure, "false_median": 0.31, "right_median": 0.42,
            "effect": 0.7, "low": 0.55, "high": 0.82, "corrected_low": 0.45,
            "corrected_high": 0.9, "n_false": 12, "n_right": 30,
            "differs": "yes" if (kind, region, measure) == ("false negative", "eyes", "sharpness")
            else "no", "note": "18 comparisons were made",
        }
        for kind, label in (("false negative", 1), ("false positive", 0))
        for region in ("whole", "eyes", "mouth")
        for measure in ("sharpness", "brightness", "contrast")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def list_label_issues(predictions):
    """Images whose label is improbable, the least probable first."""
    own = (1 - predictions["label"] - predictions["fake_probability"]).abs()
    rows = predictions.assign(label_probability=own, source_label_probability=own)
    return rows[own < 0.5].sort_values(["label_probability", "path"]).reset_index(drop=True)


FINDING = {
    "kind": "distortion", "weight": 0.4, "number": "recall 90 % → 50 %", "text": "It blurs <b>.",
    "advice": "Do not trust it.", "section": "robustness",
}  # fmt: skip


def audit_leaks(found=None, split=SPLIT):
    """A leakage summary in which only what is given was found."""
    kinds = ("exact duplicate", "label conflict", "near-duplicate", "cross-class near-duplicate")
    return {
        "split_fingerprint": split, "method": "group",
        "groups_in_more_than_one_subset": {"train and test": 0},
        "found": {kind: {} for kind in kinds} | (found or {}),
        "compared": {
            "images": 900, "flat_images_left_out": 0, "candidate_pairs": 12,
            "candidate_pairs_left_out": 0,
        },
        "settings": {"hash_distance": 8, "correlation": 0.97},
    }  # fmt: skip


def audit_files(warnings=(), auc=0.5):
    """A summary of the audit of shortcuts; `warnings` are of the quality of JPEG files."""
    together = {
        "kind": "file", "images": 900, "groups": 60, "auc": auc, "low": auc - 0.1,
        "high": min(1.0, auc + 0.1), "warns": bool(warnings), "note": None,
    }  # fmt: skip
    return {
        "images": 900, "groups": 60, "worst": {**together, "property": "quality"},
        "files": {**together, "property": "all file properties"},
        "pixels": {**together, "kind": "pixels", "auc": 0.61, "low": 0.55, "high": 0.68},
        "both": together, "warnings": list(warnings), "settings": {},
    }  # fmt: skip


# What the figure of shortcuts is drawn from
FILES = {
    "file_properties": pd.DataFrame(
        {
            "label": [0, 1] * 10, "quality": [75.0, 95.0] * 10,
            "tables": ["<b>75", "95 4:2:0"] * 10, "mode": "RGB",
        }
    ),
    "shortcut_audit": pd.DataFrame(
        {"property": ["quality", "tables", "mode"], "kind": "file", "auc": [0.9, 0.8, 0.5]}
    ),
}  # fmt: skip


def score_copies(run=RUN, equalised=0.71, strata=0.68):
    """Scores of equalised copies and within strata of a property; NaN where undefined."""
    told = [("as they are", 0.93, None), ("equalised", equalised, None)]
    told += [("in strata", strata, "quality")]
    return pd.DataFrame(
        {
            "run_fingerprint": run, "subset": "test", "images": images, "property": name,
            "metric": "roc_auc", "value": value, "low": value - 0.1, "high": value + 0.1, "n": 60,
            "difference": value - 0.93, "difference_low": value - 0.95,
            "difference_high": value - 0.91,
            "note": "undefined: no stratum holds both classes" if np.isnan(value) else None,
        }
        for images, value, name in told
    )  # fmt: skip


def report_inputs(folder, predictions=None, **changed):
    """All that `write_report` takes, with its pictures in `folder`; any of it can be given."""
    if predictions is None:
        predictions = predict_at_random("test", 60)
    put_pictures(folder, [each for each in predictions["path"] if each[-4:] == ".png"], (40, 30))
    names = sorted(set(predictions["class_name"]))
    subsets = ["train", *predictions["subset"].unique()]
    split_summary = {
        "method": "group", "ratios": {"train": 0.8, "validation": 0.2, "test": 0.0}, "seed": 7,
        "images": {subset: dict.fromkeys(names, 20) for subset in subsets},
        "groups": dict.fromkeys(subsets, 4), "groups_in_more_than_one_subset": 0,
        "fingerprint": SPLIT, "note": None,
    }  # fmt: skip
    description = {
        "backbone": "resnet18", "class_names": ["real", "fake"],
        "preprocessing": {"resize": 256, "crop": 224, "mean": [0.485], "std": [0.229]},
        "classes": {name: "real" if name == "real" else "fake" for name in names},
        "threshold": 0.5, "temperature": 1.0, "best_epoch": 3, "best_validation_accuracy": 0.8,
        "split": split_summary, "run_fingerprint": RUN,
        "settings": {"model": "resnet18", "training": {"optimizer": {"betas": [0.9, 0.999]}}},
        "versions": {"python": "3.11.9", "torch": "2.15.0"},
    }  # fmt: skip
    return {
        "description": description,
        "split_summary": split_summary,
        "leakage_summary": audit_leaks(),
        "shortcut_summary": audit_files(),
        "shortcut_scores": score_copies(),
        "rejected_images": pd.DataFrame({"path": [], "reason": []}),
        "training_history": trained_for(4),
        "predictions": predictions,
        "metric_table": measure(predictions),
        "label_issues": list_label_issues(predictions),
        "robustness_table": distort(),
        "explained_cases": explain(headline_predictions(predictions)[1]),
        "false_case_measures": compare_measures(),
        "findings": {"run_fingerprint": RUN, "subset": "test", "findings": [FINDING]},
        "page_figures": FIGURES,
        "run_manifest": MANIFEST,
        "folder": folder,
        "parameters": PARAMETERS,
        "evaluation": EVALUATION,
        **changed,
    }

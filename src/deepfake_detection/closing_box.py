"""The box that ends a run with a report: what was found, where it is, and what comes next."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from deepfake_detection.checks import path_of
from deepfake_detection.errors import shorten_paths
from deepfake_detection.terminal import WIDTH

if TYPE_CHECKING:
    from kedro.io import DataCatalog


def find_pages(outputs: Iterable[str]) -> list[str]:
    """The pages that a run made: of the main job, and of each study."""
    return sorted(name for name in outputs if name == "report" or name.endswith(".page"))


def show_box(page: str, catalog: DataCatalog, environment: str | None) -> None:
    """Print what a run that made this page has found: six lines, if none is too long."""
    study = page.removesuffix(".page")
    told = _tell_report(catalog) if study == "report" else _tell_study(study, catalog, environment)
    told["Report"] = path_of(page, catalog)
    told["Next"] = told.pop("Next")
    lines = [f"{name:<9}{shorten_paths(text)}" for name, text in told.items()]
    console = Console(highlight=False)
    wide = max(map(len, lines)) + 4
    if wide > (console.width if console.is_terminal else WIDTH):
        # without sides, which would not stand below each other; an unbroken command can be copied
        console.rule("Finished", align="left")
        console.print(Text("\n".join(lines)), soft_wrap=True)
        console.rule()
    else:
        console.width = wide
        console.print(Panel(Text("\n".join(lines)), title="Finished", title_align="left"))


def _tell_report(catalog: DataCatalog) -> dict[str, str]:
    from deepfake_detection.pipelines.reporting.headline import count_outcomes, say_verdict

    found = count_outcomes(catalog.load("predictions"))
    verdict = f"{say_verdict(found, 'image')} ({found['subset']})"
    dataset: Any = catalog.get("detector")
    detector = shlex.quote(shorten_paths(str(dataset._describe()["filepath"])))
    page = f"{_command('deepfake-page')} {detector}"
    scores = f"{_command('deepfake-score')} FILE --detector {detector}"
    metrics = catalog.load("metrics")["subsets"][found["subset"]]["images"]
    return {
        "Verdict": verdict,
        "Scores": ", ".join(
            _tell_metric(name, metrics[key])
            for name, key in (("ROC AUC", "roc_auc"), ("accuracy", "accuracy"))
        ),
        "Next": page if find_spec("starlette") else scores,
    }


def _tell_metric(name: str, metric: Mapping[str, float | None]) -> str:
    low, high = metric["low"], metric["high"]
    interval = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    return (
        f"{name} undefined"
        if metric["value"] is None
        else f"{name} {metric['value']:.2f}{interval}"
    )


def _tell_study(study: str, catalog: DataCatalog, environment: str | None) -> dict[str, str]:
    from deepfake_detection.pipelines.studies.choice import say_choice, say_use

    choice = catalog.load(f"{study}.choice")
    verdict, why, _ = say_choice(choice)
    env = f" --env {environment}" if environment else ""
    # of folds there is no detector to be used: the same settings train one
    use = say_use(choice["use"], environment) or f"kedro run{env}"
    return {
        "Verdict": verdict,
        "Why": why,
        "Next": f"{_command('kedro')}{use.removeprefix('kedro')}",
    }


def _command(name: str) -> str:
    """A command as the user can type it: with its folder where that is not on the path."""
    beside = Path(sys.executable).parent / name
    return name if shutil.which(name) or not beside.exists() else shorten_paths(str(beside))

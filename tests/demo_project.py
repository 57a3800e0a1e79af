"""A whole project in a folder of its own, small enough to run in seconds."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]

MODEL = "shufflenet_v2_x0_5"

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]


def make_project(folder):
    """Copy the project's configuration; its package is the installed one.

    The demo is made smaller still: fewer and smaller faces, two epochs.
    """
    shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, folder)
    for empty in ("conf/local", "src", "data/01_raw"):
        (folder / empty).mkdir(parents=True)
    change_yaml(
        folder / "conf/demo/catalog.yml",
        training_images={"sources": 10, "size": 96},
        videos={"sources": 8, "frames": 12, "size": 160},
    )
    change_yaml(folder / "conf/demo/globals.yml", model=MODEL)
    change_yaml(
        folder / "conf/demo/parameters.yml",
        backbones={MODEL: {"resize": 48, "crop": 48}},
        training={"epochs": 2, "batch_size": 16, "optimizer": {"lr": 0.003}},
        face_extraction={"frames_per_video": 4},
    )
    return folder


def change_yaml(path, **changes):
    """Put changes into a YAML file, block by block."""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}

    def merge(into, new):
        for key, value in new.items():
            into[key] = merge(into.get(key) or {}, value) if isinstance(value, dict) else value
        return into

    path.write_text(yaml.safe_dump(merge(content, changes), sort_keys=False), encoding="utf-8")


def latest(project, entry):
    """The latest version of a versioned file: `entry` is its path without the version."""
    path = project / entry
    return max(path.glob(f"*/{path.name}"))


def wait_for(process, line):
    """Read what a process says until it says this; the whole line."""
    assert process.stdout is not None
    for said in process.stdout:
        if line in said:
            return said
    raise AssertionError(f"it never said {line!r}: {process.communicate()[1]}")

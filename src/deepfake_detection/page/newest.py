"""Finding a detector without being told where it is."""

import tomllib
from pathlib import Path

from deepfake_detection.errors import UserError

_PACKAGE = __name__.partition(".")[0]
_MODELS, _FILE = "06_models", "detector.safetensors"


def find_newest_detector(folder: Path) -> Path:
    """The detector file that the project around a folder trained last, of any backbone.

    Args:
        folder: The project's, or one inside of it.

    Raises:
        UserError: If no such project is around the folder, or it has no detector yet.
    """
    project = _find_project(folder.resolve())
    if project is None:
        raise UserError(
            f"{folder} is in no deepfake-detection project: name a detector file, as in "
            f"deepfake-page {_FILE}"
        )
    models = project / "data" / _MODELS
    if newest := _newest_below(models):
        return newest
    demo = _newest_below(project / "data" / "demo" / _MODELS)
    other = f"name one, as in deepfake-page {demo}" if demo else "name a detector file"
    raise UserError(f"there is no detector in {models}/*/ yet: kedro run makes one, or {other}")


def _find_project(folder: Path) -> Path | None:
    return next((each for each in (folder, *folder.parents) if _is_project(each)), None)


def _is_project(folder: Path) -> bool:
    try:
        settings = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    # none there, or one that is not for us to mend
    except (OSError, ValueError):
        return False
    kedro = settings.get("tool", {}).get("kedro", {})
    return isinstance(kedro, dict) and kedro.get("package_name") == _PACKAGE


def _newest_below(models: Path) -> Path | None:
    # a version is named after the moment it was saved at
    versions = models.glob(f"*/{_FILE}/*/{_FILE}")
    return max(versions, key=lambda path: path.parent.name, default=None)

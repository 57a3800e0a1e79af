"""Project settings, read by Kedro."""

import sys
import warnings
from io import TextIOWrapper
from typing import Any


def _end_quietly(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("Aborted!\n")
    else:
        sys.__excepthook__(kind, error, trace)


# a terminal that knows fewer characters than the messages: escapes instead of errors
for _stream in (sys.stdout, sys.stderr):
    if isinstance(_stream, TextIOWrapper):
        _stream.reconfigure(errors="backslashreplace")

# before the imports below, which take seconds: Ctrl-C while they run would print a traceback
if sys.excepthook is sys.__excepthook__:
    sys.excepthook = _end_quietly

from deepfake_detection.config_loader import StudyConfigLoader  # noqa: E402
from deepfake_detection.hooks import ProjectHooks  # noqa: E402
from deepfake_detection.mlflow_hooks import MlflowHooks  # noqa: E402
from deepfake_detection.terminal import fold_log_lines  # noqa: E402

# Printed on every run, and nothing that a user of this project can change
warnings.filterwarnings("ignore", message=r"register_new_resolver\(\) is deprecated")
warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")

fold_log_lines()

HOOKS = (ProjectHooks(), MlflowHooks())
# It would copy each run a second time
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow",)

CONFIG_LOADER_CLASS = StudyConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # an environment that sets one key of a block keeps the others
    "merge_strategy": {"parameters": "soft"},
    # a backbone's name as the name of a folder: timm/NAME has a slash
    "custom_resolvers": {"folder": lambda model: str(model).replace("/", "__")},
}

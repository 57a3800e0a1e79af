"""Project settings, read by Kedro."""

import warnings

from deepfake_detection.config_loader import StudyConfigLoader
from deepfake_detection.hooks import ProjectHooks

# Printed on every run, and nothing that a user of this project can change
warnings.filterwarnings("ignore", message=r"register_new_resolver\(\) is deprecated")
warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")

HOOKS = (ProjectHooks(),)

CONFIG_LOADER_CLASS = StudyConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # an environment that sets one key of a block keeps the others
    "merge_strategy": {"parameters": "soft"},
}

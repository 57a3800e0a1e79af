"""A project that has nothing but hooks."""

import os

from cluster_nodes import NotingHooks

HOOKS = (NotingHooks(os.environ["HOOK_NOTES"]),)

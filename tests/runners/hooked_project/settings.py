"""A project that has nothing but hooks."""

from cluster_nodes import NotingHooks

HOOKS = (NotingHooks(),)

"""Groups of what belongs together, as connected components."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from natsort import natsorted
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

_NAMED = 3


def join_related(related: Sequence[tuple[str, ...]]) -> list[str]:
    """Name the group of each item: items that share a name, directly or by others, are one group.

    A group is called after all of its names, or the first and the number of the others: `000+003`,
    `id0+58 more`. Each item needs a name at least.
    """
    names = pd.Series([name for each in related for name in each], dtype=object)
    items = np.repeat(np.arange(len(related)), [len(each) for each in related])
    codes, known = pd.factorize(names)
    size = len(related) + len(known)
    links = coo_matrix((np.ones(len(codes)), (items, len(related) + codes)), shape=(size, size))
    _, component = connected_components(links, directed=False)
    members: dict[int, list[str]] = {}
    for name, number in zip(known, component[len(related) :], strict=True):
        members.setdefault(int(number), []).append(str(name))
    called = {number: _call(natsorted(sorted(each))) for number, each in members.items()}
    return [called[int(number)] for number in component[: len(related)]]


def _call(members: list[str]) -> str:
    if len(members) <= _NAMED:
        return "+".join(members)
    return f"{members[0]}+{len(members) - 1} more"

"""Finding hashes of 64 bits that differ in few of them, without comparing each with each."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Whole = np.ndarray[Any, np.dtype[np.int64]]

# Pairs that are looked at together: some 100 MB.
_CHUNK = 1 << 19
# Hashes from which is learned how often each bit is set.
_SAMPLE = 10_000


@dataclass(frozen=True)
class ClosePairs:
    """Pairs of items from different subsets whose hashes are close, the closest first.

    Attributes:
        first, second: Positions of the items, [pairs]; the first is of the lower subset.
        distance: Bits in which their hashes differ, [pairs].
        left_out: Close pairs beyond the most that were wanted; not in the list.
    """

    first: Whole
    second: Whole
    distance: Whole
    left_out: int


@dataclass(frozen=True)
class _Cells:
    """Items put together by their hash, within one subset.

    Attributes:
        hashes: Of each cell, all different, [cells].
        members: Positions of the items, cell by cell, [items].
        starts: Where each cell's members start, [cells].
        sizes: How many it has, [cells].
    """

    hashes: Hashes
    members: Whole
    starts: Whole
    sizes: Whole


def parse_hashes(hexadecimal: list[str]) -> Hashes:
    """Hashes of 64 bits, written as 16 hexadecimal digits each, as numbers, [n]."""
    return np.frombuffer(bytes.fromhex("".join(hexadecimal)), dtype=">u8").astype(np.uint64)


def find_close_pairs(hashes: Hashes, subsets: Whole, distance: int, most: int) -> ClosePairs:
    """Find pairs of items from different subsets whose hashes differ in at most `distance` bits.

    Multi-index hashing (Norouzi, Punjani and Fleet 2012, "Fast Search in Hamming Space with
    Multi-Index Hashing"): of `distance` + 1 bands of bits, two such hashes agree in one at least,
    so that only hashes that agree in a band are compared. Equal hashes of a subset are compared
    once, whatever their number. The memory needed grows with the number of items and with `most`,
    not with the number of pairs; the time grows with the pairs that agree in a band, which are few
    unless hashes crowd together, and never more than all.

    Above `most` close pairs the closest hashes are kept, and where many items share a hash, some of
    their pairs: as far as there is room, pairs in which each of them stands.

    Args:
        hashes: [n].
        subsets: The number of each item's subset, [n].
        distance: Bits, 0…63.
        most: How many pairs are wanted at most.
    """
    cells = {int(subset): _gather(hashes, subsets, subset) for subset in np.unique(subsets)}
    found = _Found(most)
    for lower, upper in combinations(sorted(cells), 2):
        a, b = cells[lower], cells[upper]
        for first, second, bits in _match(a.hashes, b.hashes, distance):
            found.count(a.sizes[first], b.sizes[second])
            wanted = bits < found.reach
            first, second, bits = first[wanted], second[wanted], bits[wanted]  # noqa: PLW2901
            found.add(
                bits, a.starts[first], a.sizes[first], b.starts[second], b.sizes[second],
                np.full(len(bits), lower), np.full(len(bits), upper),
            )  # fmt: skip
    members = {subset: each.members for subset, each in cells.items()}
    return found.spread(members)


def _gather(hashes: Hashes, subsets: Whole, subset: int) -> _Cells:
    inside = np.flatnonzero(subsets == subset)
    members = inside[np.argsort(hashes[inside], kind="stable")]
    unique, starts, sizes = np.unique(hashes[members], return_index=True, return_counts=True)
    return _Cells(unique, members, starts, sizes)


# ---------------------------------------------------------------- which hashes are close


def _match(a: Hashes, b: Hashes, distance: int) -> Iterator[tuple[Whole, Whole, Whole]]:
    """Positions in `a` and `b` of close hashes, and their distance; each pair once, in chunks."""
    bands = _deal_bits(np.concatenate([a, b]), distance + 1)
    if sum(_count_agreeing(a & band, b & band) for band in bands) > len(a) * len(b):
        # so crowded that bands hold more pairs than there are
        yield from _compare_all(a, b, distance)
        return
    for number, band in enumerate(bands):
        for first, second in _agree(a & band, b & band):
            differing = a[first] ^ b[second]
            bits = np.bitwise_count(differing)
            close = np.flatnonzero(bits <= distance)
            for earlier in bands[:number]:  # in which the pair would have been found before
                close = close[differing[close] & earlier != 0]
            yield first[close], second[close], bits[close].astype(np.int64)


def _count_agreeing(a: Hashes, b: Hashes) -> int:
    values, counts = np.unique(a, return_counts=True)
    others, other_counts = np.unique(b, return_counts=True)
    _, here, there = np.intersect1d(values, others, assume_unique=True, return_indices=True)
    return int(counts[here] @ other_counts[there])


def _compare_all(a: Hashes, b: Hashes, distance: int) -> Iterator[tuple[Whole, Whole, Whole]]:
    step = max(1, _CHUNK // len(b))
    for start in range(0, len(a), step):
        bits = np.bitwise_count(a[start : start + step, None] ^ b)
        first, second = np.nonzero(bits <= distance)
        yield first + start, second, bits[first, second].astype(np.int64)


def _deal_bits(hashes: Hashes, bands: int) -> list[np.uint64]:
    """Masks of the bands: all 64 bits, each in one band.

    A bit that is nearly always set, or never, tells little apart. So bits are dealt out from the
    most to the least telling, and no band is left with those alone.
    """
    sample = hashes[:: max(1, len(hashes) // _SAMPLE)]
    is_set = (sample[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    order = np.argsort(np.abs(is_set.mean(axis=0) - 0.5), kind="stable")
    single = np.uint64(1) << order.astype(np.uint64)
    return [np.bitwise_or.reduce(single[band::bands]) for band in range(bands)]


def _agree(a: Hashes, b: Hashes) -> Iterator[tuple[Whole, Whole]]:
    """All pairs of positions in `a` and `b` with the same value, in chunks."""
    order_a, order_b = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")
    a, b = a[order_a], b[order_b]
    begin = np.searchsorted(b, a, side="left")
    counts = np.searchsorted(b, a, side="right") - begin
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(_CHUNK, total + _CHUNK, _CHUNK), side="left") + 1
    start = 0
    for stop in cuts:
        inside = counts[start:stop]
        within = np.arange(inside.sum()) - np.repeat(np.cumsum(inside) - inside, inside)
        yield (
            np.repeat(order_a[start:stop], inside),
            order_b[np.repeat(begin[start:stop], inside) + within],
        )
        start = int(stop)


# ---------------------------------------------------------------- at most so many


class _Found:
    """Pairs of cells found so far, of which the closest are kept.

    Args:
        most: How many pairs of items are wanted at most.

    Attributes:
        reach: Distance from which on pairs are not wanted any more: there are enough.
    """

    def __init__(self, most: int) -> None:
        self.reach = 65
        self._at_distance = np.zeros(65, dtype=np.int64)  # pairs of cells that were found
        self._most = most
        self._rows: list[Whole] = []  # distance; start and size of both cells; their subsets
        self._kept = 0
        self._pairs = 0  # of items, all that were found

    def count(self, sizes_a: Whole, sizes_b: Whole) -> None:
        self._pairs += int(sizes_a @ sizes_b)

    def add(self, *columns: Whole) -> None:
        rows = np.stack(columns, axis=1)
        self._rows.append(rows)
        self._at_distance += np.bincount(rows[:, 0], minlength=65)
        enough = np.flatnonzero(np.cumsum(self._at_distance) >= self._most)
        self.reach = int(enough[0]) if len(enough) else self.reach
        self._kept += len(rows)
        if self._kept > 2 * self._most:
            self._cut()

    def _cut(self) -> Whole:
        """Keep the closest; a pair of cells holds one pair of items at least."""
        rows = np.concatenate([np.empty((0, 7), dtype=np.int64), *self._rows])
        rows = rows[np.argsort(rows[:, 0], kind="stable")[: self._most]]
        self._rows, self._kept = [rows], len(rows)
        return rows

    def spread(self, members: dict[int, Whole]) -> ClosePairs:
        """From pairs of cells to pairs of their items."""
        rows = self._cut()
        distance, start_a, size_a, start_b, size_b, lower, upper = rows.T
        taken = _fill(size_a * size_b, self._most)
        turn = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
        row = np.repeat(np.arange(len(rows)), taken)
        # along diagonals, so that each item of a cell has its turn before one has its second
        shift = turn // np.lcm(size_a, size_b)[row]
        in_a = start_a[row] + turn % size_a[row]
        in_b = start_b[row] + (turn + shift) % size_b[row]
        first, second = np.empty_like(row), np.empty_like(row)
        for subset, positions in members.items():
            below, above = lower[row] == subset, upper[row] == subset
            first[below] = positions[in_a[below]]
            second[above] = positions[in_b[above]]
        return ClosePairs(first, second, distance[row], self._pairs - len(row))


def _fill(sizes: Whole, most: int) -> Whole:
    """Cut the largest of `sizes` to one height, so that they sum to at most `most`."""
    if sizes.sum() <= most:
        return sizes
    low, high = 1, int(sizes.max())
    while low < high - 1:
        height = (low + high) // 2
        low, high = (height, high) if np.minimum(sizes, height).sum() <= most else (low, height)
    return np.minimum(sizes, low)

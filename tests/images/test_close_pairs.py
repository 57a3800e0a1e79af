import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_detection.images.duplicates import find_close_pairs, parse_hashes

PLENTY = 10**7


def clustered_hashes(number, centres, flips):
    """Hashes that differ from one of a few in some bits, as those of faces in one pose do."""
    generator = np.random.default_rng(0)
    hashes = generator.choice(generator.integers(0, 2**64, centres, dtype=np.uint64), number)
    for _ in range(flips):
        hashes ^= np.uint64(1) << generator.integers(0, 64, number, dtype=np.uint64)
    return hashes


def expected_pairs(hashes, subsets, groups, distance):
    """Every pair of different subsets and groups, the lower subset first, with its distance."""
    bits = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    apart = (subsets[:, None] < subsets[None, :]) & (groups[:, None] != groups[None, :])
    pairs = np.argwhere((bits <= distance) & apart)
    return {(int(i), int(j)): int(bits[i, j]) for i, j in pairs}


def assert_closest_are_found(hashes, subsets, groups, distance, most):
    """All pairs are found, or the closest, and the rest is counted."""
    every = expected_pairs(hashes, subsets, groups, distance)
    (first, second, bits), left_out = find_close_pairs(hashes, subsets, groups, distance, most)
    positions = zip(first.tolist(), second.tolist(), strict=True)
    found = dict(zip(positions, bits.tolist(), strict=True))
    assert len(found) == len(first)  # no pair twice
    assert found.items() <= every.items()
    assert list(bits) == sorted(every.values())[:most]
    assert len(found) + left_out == len(every)


@st.composite
def crowds(draw):
    """A few hashes, some equal, some close to each other."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3))
    bits = st.sets(st.integers(0, 63), max_size=8)
    item = st.tuples(st.sampled_from(centres), bits, st.integers(0, 2), st.integers(0, 60))
    items = draw(st.lists(item, max_size=40))
    hashes = [centre ^ sum(1 << bit for bit in flipped) for centre, flipped, *_ in items]
    subsets, groups = np.array([each[2:] for each in items], dtype=np.int64).reshape(-1, 2).T
    return np.array(hashes, dtype=np.uint64), subsets, groups


@settings(max_examples=150, deadline=None)
@given(crowds(), st.integers(0, 16), st.sampled_from([PLENTY, 1, 7, 60]))
def test_close_pairs_are_complete_or_the_rest_is_counted(crowd, distance, most):
    assert_closest_are_found(*crowd, distance, most)


@pytest.mark.parametrize(("distance", "most"), [(0, PLENTY), (8, PLENTY), (16, PLENTY), (8, 500)])
@pytest.mark.parametrize("centres", [1500, 30, 3])
def test_close_pairs_of_many_hashes_are_complete(centres, distance, most):
    hashes, each = clustered_hashes(1500, centres, 4), np.arange(1500)
    assert_closest_are_found(hashes, each % 3, each // 4, distance, most)


def test_of_many_equal_hashes_each_stands_in_a_pair():
    hashes, subsets = np.zeros(3000, dtype=np.uint64), np.repeat([0, 1], [2100, 900])
    (first, second, _), _ = find_close_pairs(hashes, subsets, np.arange(3000), 4, 5000)
    assert {*first, *second} == set(range(3000))


@pytest.mark.parametrize("flips", [0, 3])
def test_memory_is_bounded_where_all_hashes_are_close(flips):
    hashes, each = clustered_hashes(12_000, 1, flips), np.arange(12_000)
    tracemalloc.start()
    try:
        (first, _, _), left_out = find_close_pairs(hashes, each % 5 // 4, each // 2, 8, 20_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(first) == 20_000
    assert left_out > 10**7
    assert peak < 50e6  # a list of all these pairs takes more than 500 MB


def test_hashes_are_read_as_they_are_written():
    assert list(parse_hashes(["00000000000000ff", "8000000000000000"])) == [255, 2**63]
    assert len(parse_hashes([])) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("centres", "flips"), [(20_000, 6), (1, 0), (1, 4)])
def test_a_hundred_thousand_hashes_take_less_than_a_minute(centres, flips):
    hashes, each = clustered_hashes(100_000, centres, flips), np.arange(100_000)
    started = time.process_time()
    find_close_pairs(hashes, each % 5 // 4, each // 2, 8, 1_000_000)
    assert time.process_time() - started < 60

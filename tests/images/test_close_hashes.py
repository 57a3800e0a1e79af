import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_detection.images import close_hashes
from deepfake_detection.images.close_hashes import (
    find_close_pairs,
    parse_hashes,
)

PLENTY = 10**7


def random_hashes(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, number, dtype=np.uint64)


def clustered_hashes(number: int, centres: int, flips: int, seed: int = 0) -> np.ndarray:
    """Hashes that differ from one of a few in some bits, as those of faces in one pose do."""
    generator = np.random.default_rng(seed)
    hashes = generator.choice(random_hashes(centres, seed), number)
    for _ in range(flips):
        hashes ^= np.uint64(1) << generator.integers(0, 64, number, dtype=np.uint64)
    return hashes


def random_subsets(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(3, number, p=[0.6, 0.2, 0.2])


def by_brute_force(hashes: np.ndarray, subsets: np.ndarray, distance: int) -> dict:
    """Every pair of different subsets, the one of the lower subset first, with its distance."""
    bits = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    pairs = np.argwhere((bits <= distance) & (subsets[:, None] < subsets[None, :]))
    return {(int(i), int(j)): int(bits[i, j]) for i, j in pairs}


def by_bands(
    hashes: np.ndarray, subsets: np.ndarray, distance: int, most: int = PLENTY
) -> tuple[dict, int]:
    found = find_close_pairs(hashes, subsets, distance, most)
    assert list(found.distance) == sorted(found.distance)
    pairs = dict(
        zip(
            zip(found.first.tolist(), found.second.tolist(), strict=True),
            found.distance.tolist(), strict=True,
        )
    )  # fmt: skip
    assert len(pairs) == len(found.first) <= most  # none twice
    return pairs, found.left_out


@st.composite
def crowds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A few hashes, some equal, some close to each other."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3))
    bits = st.lists(st.integers(0, 63), max_size=8)
    items = draw(
        st.lists(st.tuples(st.sampled_from(centres), bits, st.integers(0, 2)), max_size=40)
    )
    hashes = []
    for centre, flipped, _ in items:
        for bit in flipped:
            centre ^= 1 << bit  # noqa: PLW2901
        hashes.append(centre)
    return np.array(hashes, dtype=np.uint64), np.array([s for _, _, s in items], dtype=np.int64)


@settings(max_examples=150, deadline=None)
@given(crowds(), st.integers(0, 16))
def test_close_pairs_are_just_those_that_comparing_each_with_each_finds(crowd, distance):
    assert by_bands(*crowd, distance) == (by_brute_force(*crowd, distance), 0)


@pytest.mark.parametrize("distance", [0, 3, 8, 16])
@pytest.mark.parametrize(
    "hashes", [random_hashes(1500), clustered_hashes(1500, 30, 6), clustered_hashes(1500, 3, 3)]
)
def test_close_pairs_of_many_hashes_are_complete(hashes, distance):
    subsets = random_subsets(len(hashes))
    assert by_bands(hashes, subsets, distance) == (by_brute_force(hashes, subsets, distance), 0)


@pytest.mark.parametrize(("centres", "crowded"), [(1, True), (40, False)])
def test_where_chunks_end_plays_no_part(monkeypatch, centres, crowded):
    hashes, subsets = clustered_hashes(150, centres, 3), random_subsets(150)
    expected = by_brute_force(hashes, subsets, 6)
    compared = []
    compare_all = close_hashes._compare_all
    monkeypatch.setattr(
        close_hashes, "_compare_all", lambda *given: compared.append(1) or compare_all(*given)
    )
    for chunk in (3, 100):
        monkeypatch.setattr(close_hashes, "_CHUNK", chunk)
        assert by_bands(hashes, subsets, 6) == (expected, 0)
    assert bool(compared) == crowded
    assert len(expected) > 20


@settings(max_examples=60, deadline=None)
@given(crowds(), st.integers(0, 16), st.integers(1, 60))
def test_of_too_many_pairs_the_rest_is_counted(crowd, distance, most):
    every = by_brute_force(*crowd, distance)
    found, left_out = by_bands(*crowd, distance, most)
    assert found.items() <= every.items()
    assert len(found) + left_out == len(every)
    # one height cuts all crowds, so that little room is left over
    assert len(found) == len(every) or found


def test_of_too_many_hashes_the_closest_stay():
    hashes, subsets = np.unique(clustered_hashes(2000, 5, 4)), random_subsets(2000)
    subsets = subsets[: len(hashes)]
    every = sorted(by_brute_force(hashes, subsets, 8).values())
    found, left_out = by_bands(hashes, subsets, 8, 500)
    assert list(found.values()) == every[:500]
    assert left_out == len(every) - 500 > 1000


def test_of_a_crowd_with_one_hash_everyone_stands_in_a_pair():
    subsets = np.repeat([0, 1], [2100, 900])
    hashes = np.zeros(3000, dtype=np.uint64)
    found, left_out = by_bands(hashes, subsets, 4, 5000)
    assert {image for pair in found for image in pair} == set(range(3000))
    assert len(found) + left_out == 2100 * 900
    assert len(found) == 5000


@pytest.mark.parametrize(
    "hashes",
    [np.zeros(100_000, dtype=np.uint64), clustered_hashes(12_000, 1, 3)],
    ids=["equal", "crowded"],
)
def test_memory_stays_bounded_where_hashes_crowd(hashes):
    subsets = np.random.default_rng(0).choice(2, len(hashes), p=[0.8, 0.2])
    tracemalloc.start()
    try:
        found = find_close_pairs(hashes, subsets, 8, 20_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.first) <= 20_000
    assert found.left_out > 10**7
    assert peak < 250e6  # all these pairs in one list would take gigabytes


def test_hashes_are_read_as_they_are_written():
    assert list(parse_hashes(["00000000000000ff", "8000000000000000"])) == [255, 2**63]
    assert len(parse_hashes([])) == 0


@pytest.mark.slow
def test_the_search_grows_slowly() -> None:
    kinds = {
        "random": random_hashes,
        "clustered": lambda number: clustered_hashes(number, number // 5, 6),
        "equal": lambda number: np.zeros(number, dtype=np.uint64),
        # nearly every pair is close, so that there is no way around looking at all
        "one crowd": lambda number: clustered_hashes(number, 1, 4),
    }
    print("\nhashes     images  CPU seconds       pairs    left out")
    for name, make in kinds.items():
        for number in (12_500, 25_000, 50_000, 100_000):
            hashes = make(number)
            subsets = np.random.default_rng(0).choice(2, number, p=[0.8, 0.2])
            # of the processor, on one core, so that what else the machine does plays no part
            started = time.process_time()
            found = find_close_pairs(hashes, subsets, 8, 1_000_000)
            seconds = time.process_time() - started
            print(
                f"{name:10} {number:6} {seconds:12.2f} {len(found.first):11} {found.left_out:11}",
                flush=True,
            )
            assert seconds < (60 if name == "one crowd" else 10)

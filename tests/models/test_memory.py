"""Memory kept from step to step, and given back at the end."""

import resource
import sys
from collections.abc import Callable

import psutil
import pytest
import torch

from deepfake_detection.models import memory
from deepfake_detection.models.memory import keeping_memory

CPU = torch.device("cpu")
MEGABYTES = 100

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")


@pytest.fixture(autouse=True)
def nobody_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of its own: what other tests left open has no part in it."""
    monkeypatch.setattr(memory, "_inside", 0)
    with keeping_memory(CPU):
        pass


def _use() -> None:
    torch.ones(MEGABYTES * 2**18)


def _pages_taken(act: Callable[[], None]) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    act()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@linux
def test_a_step_finds_the_memory_of_the_one_before_it_and_the_system_gets_it_back() -> None:
    needed = MEGABYTES * 2**20 // resource.getpagesize()
    _use()
    assert _pages_taken(_use) > 0.4 * needed
    with keeping_memory(CPU):
        # blocks have to start at round addresses, so that the first few find no room
        for _ in range(20):
            _use()
        assert min(_pages_taken(_use) for _ in range(5)) < 0.1 * needed
        held = psutil.Process().memory_info().rss
    assert psutil.Process().memory_info().rss < held - MEGABYTES * 2**19
    assert _pages_taken(_use) > 0.4 * needed


@linux
def test_what_ends_inside_does_not_end_what_is_around_it() -> None:
    needed = MEGABYTES * 2**20 // resource.getpagesize()
    with keeping_memory(CPU):
        for _ in range(20):
            with keeping_memory(CPU):
                _use()
        assert min(_pages_taken(_use) for _ in range(5)) < 0.1 * needed
    assert _pages_taken(_use) > 0.4 * needed


def test_elsewhere_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("no C library is to be asked")

    monkeypatch.setattr(memory.ctypes, "CDLL", refuse)
    with keeping_memory(torch.device("cuda")):
        pass
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    with keeping_memory(CPU):
        pass

"""Memory is reused from step to step, and returned at the end."""

import resource
import sys

import psutil
import pytest
import torch

from deepfake_detection.models import devices as memory
from deepfake_detection.models.devices import keeping_memory

CPU = torch.device("cpu")
MEGABYTES = 100


@pytest.fixture(autouse=True)
def no_open_blocks(monkeypatch):
    """As in a process of its own, whatever other tests left open."""
    monkeypatch.setattr(memory, "_open_blocks", 0)
    with keeping_memory(CPU):
        pass


def _use():
    torch.ones(MEGABYTES * 2**18)


def _new_pages(act):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    act()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_steps_reuse_memory_until_the_outer_block_ends_and_the_system_gets_it_back():
    needed = MEGABYTES * 2**20 // resource.getpagesize()
    _use()
    assert _new_pages(_use) > 0.4 * needed
    with keeping_memory(CPU):
        # blocks start at round addresses, so the first few do not fit into freed ones
        for _ in range(20):
            with keeping_memory(CPU):
                _use()
        assert min(_new_pages(_use) for _ in range(5)) < 0.1 * needed
        held = psutil.Process().memory_info().rss
    assert psutil.Process().memory_info().rss < held - MEGABYTES * 2**19
    assert _new_pages(_use) > 0.4 * needed


def test_gpus_and_other_systems_are_left_alone(monkeypatch):
    def refuse(_):
        raise AssertionError("no C library is to be asked")

    monkeypatch.setattr(memory.ctypes, "CDLL", refuse)
    with keeping_memory(torch.device("cuda")):
        pass
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    with keeping_memory(CPU):
        pass

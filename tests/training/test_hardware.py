"""What a training computes on, and what is refused."""

from typing import Any

import joblib
import pytest
import torch
from training_samples import CPU, make_training

from deepfake_detection.errors import UserError
from deepfake_detection.models.devices import computes_faster_in_bf16
from deepfake_detection.training import hardware
from deepfake_detection.training.hardware import (
    Hardware,
    check_compiler,
    check_hardware,
    choose_hardware,
)


def _capabilities(monkeypatch: pytest.MonkeyPatch, *units: str) -> None:
    there = dict.fromkeys(units, True) | {"cpu_name": "Test CPU"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: there)


@pytest.mark.parametrize("units", ["amx_bf16", "avx512_bf16"])
def test_auto_takes_bf16_where_a_cpu_has_units_for_it(
    monkeypatch: pytest.MonkeyPatch, units: str
) -> None:
    _capabilities(monkeypatch, "avx2", units)
    assert choose_hardware(make_training(precision="auto")).precision == "bf16"


def test_a_cpu_without_units_stays_in_fp32_and_refuses_bf16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _capabilities(monkeypatch, "avx2", "avx512_f")
    assert choose_hardware(make_training(precision="auto")).precision == "fp32"
    with pytest.raises(UserError, match=r"'training.precision': Test CPU has no units for bf16"):
        choose_hardware(make_training(precision="bf16"))


def test_apples_gpus_are_no_faster_in_bf16() -> None:
    assert not computes_faster_in_bf16(torch.device("mps"))


def test_more_devices_than_there_are_is_refused() -> None:
    cores = joblib.cpu_count()
    assert choose_hardware(make_training(devices=cores)).processes == cores
    with pytest.raises(UserError, match=rf"asks for {cores + 1}, and this machine has {cores} CPU"):
        choose_hardware(make_training(devices=cores + 1))


def test_all_takes_one_process_on_a_cpu() -> None:
    chosen = choose_hardware(make_training(devices="all"))
    assert (chosen.processes, chosen.machines, chosen.alone) == (1, 1, True)
    assert chosen.threads == torch.get_num_threads()


@pytest.mark.parametrize(("devices", "device", "processes"), [("all", "cuda", 4), (2, "cuda", 2)])
def test_gpus_are_counted(
    monkeypatch: pytest.MonkeyPatch, devices: Any, device: str, processes: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    training = make_training(devices=devices, device=device)
    assert choose_hardware(training).processes == processes
    with pytest.raises(UserError, match=r"asks for 5, and this machine has 4 GPUs"):
        choose_hardware(make_training(devices=5, device=device))
    # a GPU that is named by its number stands for itself
    with pytest.raises(UserError, match=r"asks for 2, and this machine has 1 GPUs"):
        choose_hardware(make_training(devices=2, device="cuda:1"))


def test_a_state_of_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(UserError, match="this machine has no cuda"):
        check_hardware(Hardware("cuda", 1, 1, "fp32", 2))


def test_where_nothing_can_be_compiled_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> object:
        raise RuntimeError("\nno compiler here\nat all")

    monkeypatch.setattr(hardware.torch, "compile", refuse)
    with pytest.raises(UserError, match=r"'training.compile'.*no compiler here") as caught:
        check_compiler(CPU)
    assert "\n" not in str(caught.value)


def test_what_it_computes_on_is_said_in_words() -> None:
    assert str(Hardware("cpu", 1, 1, "fp32", 2)) == "cpu, 2 threads, fp32"
    assert str(Hardware("cpu", 2, 2, "bf16", 1)) == "cpu, 2 processes, 2 machines, 1 thread, bf16"

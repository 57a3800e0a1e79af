"""What a training computes on, and what is refused."""

import os
import subprocess
import sys

import joblib
import pytest
import torch
from training_samples import make_training

from deepfake_detection.errors import UserError
from deepfake_detection.models.devices import computes_faster_in_bf16
from deepfake_detection.training.hardware import Hardware, choose_hardware


@pytest.mark.parametrize(
    ("units", "precision"), [("amx_bf16", "bf16"), ("avx512_bf16", "bf16"), ("avx512_f", "fp32")]
)
def test_auto_takes_bf16_where_a_cpu_has_units_for_it(monkeypatch, units, precision):
    there = {"avx2": True, units: True, "cpu_name": "Test CPU"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: there)
    assert choose_hardware(make_training(precision="auto")).precision == precision
    if precision == "fp32":
        with pytest.raises(UserError, match=r"'training\.precision'.*Test CPU"):
            choose_hardware(make_training(precision="bf16"))


def test_apples_gpus_are_no_faster_in_bf16():
    assert not computes_faster_in_bf16(torch.device("mps"))


def test_more_processes_than_cores_are_refused():
    cores = joblib.cpu_count()
    assert choose_hardware(make_training(devices=cores)).processes == cores
    with pytest.raises(UserError, match=rf"'training\.devices' is {cores + 1}.*{cores} CPU cores"):
        choose_hardware(make_training(devices=cores + 1))


def test_all_devices_of_a_cpu_are_one_process():
    training = make_training().model_copy(update={"devices": "all"})
    assert choose_hardware(training) == Hardware("cpu", 1, "fp32", torch.get_num_threads())


@pytest.mark.cuda
def test_one_gpu_is_the_default_and_all_takes_all_of_them():
    gpus = torch.cuda.device_count()
    training = make_training(device="cuda")
    assert choose_hardware(training).processes == 1
    assert choose_hardware(training.model_copy(update={"devices": "all"})).processes == gpus
    with pytest.raises(UserError, match=r"'training\.devices'"):
        choose_hardware(make_training(device="cuda", devices=gpus + 1))
    # a GPU that is named by its number is one device
    one = make_training(device="cuda:0").model_copy(update={"devices": "all"})
    assert choose_hardware(one).processes == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_this_machine_lacks_is_refused():
    with pytest.raises(UserError, match="cuda"):
        choose_hardware(make_training(device="cuda"))


@pytest.mark.parametrize(
    ("compiler", "code"), [("/nowhere/g++", 1), pytest.param(None, 0, marks=pytest.mark.slow)]
)
def test_a_missing_compiler_is_named_before_training(compiler, code, tmp_path):
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    if compiler:
        environment["CXX"] = compiler
    program = (
        "import torch; from deepfake_detection.training.optimisation import check_compiler; "
        "check_compiler(torch.device('cpu'))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert not code or "'training.compile'" in done.stderr.splitlines()[-1]

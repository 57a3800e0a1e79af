"""The command: what it says, how it ends, and mistakes in one line."""

import http.client
import signal
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_server import PageServer

from deepfake_detection.errors import UserError
from deepfake_detection.page.command import main
from deepfake_detection.page.newest import find_newest_detector


def refused(*arguments: object) -> str:
    """The one line that the command ends with."""
    done = CliRunner().invoke(main, [*map(str, arguments), "--no-browser"])
    assert done.exit_code == 1, done.output
    assert done.output.startswith("Error: ")
    assert done.output.count("\n") == 1
    return done.output


def test_ctrl_c_ends_it_in_one_line(detector_file: Path, page_to_end: PageServer):
    server = page_to_end
    assert server.said[0] == f"Detector: shufflenet_v2_x0_5, {detector_file}\n"
    assert server.said[1] == f"Page:     http://127.0.0.1:{server.port}\n"
    assert "Ctrl-C" in server.said[2]
    before = server.complaints()
    # a browser keeps its connection
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/")
    connection.getresponse().read()
    server.process.send_signal(signal.SIGINT)
    rest, _ = server.process.communicate(timeout=20)
    connection.close()
    assert rest == "The page has ended.\n"
    assert server.process.returncode == 0
    assert server.complaints() == before


def test_port_that_is_taken(detector_file: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused(detector_file, "--port", port)


def test_detector_that_is_missing(tmp_path: Path):
    missing = tmp_path / "missing.safetensors"
    assert f"there is no detector file {missing}" in refused(missing, "--port", 0)


def test_detector_that_is_damaged(detector_file: Path, tmp_path: Path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(detector_file.read_bytes()[:5000])
    assert f"{damaged} is truncated" in refused(damaged, "--port", 0)


def test_device_that_is_missing(detector_file: Path):
    assert "cuda:99" in refused(detector_file, "--port", 0, "--device", "cuda:99")


def test_libraries_that_are_missing(monkeypatch: pytest.MonkeyPatch, detector_file: Path):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'deepfake-detection[page]'" in refused(detector_file)


@pytest.mark.parametrize(
    "option",
    [
        ["--device", "gpu"], ["--port", "70000"], ["--max-megabytes", "0"],
        ["--max-megapixels", "1000"], ["--max-waiting", "0"], ["--upload-seconds", "0"],
    ],
)  # fmt: skip
def test_options_out_of_range(option: list[str]):
    done = CliRunner().invoke(main, option)
    assert done.exit_code == 2
    assert option[0] in done.output
    assert option[1] in done.output


@pytest.fixture
def project(tmp_path: Path) -> Path:
    settings = '[tool.kedro]\npackage_name = "deepfake_detection"\n'
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def put_version(project: Path, model: str, version: str, data: str = "data") -> Path:
    name = "detector.safetensors"
    path = project / data / "06_models" / model / name / version / name
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_newest_detector_of_any_backbone_is_taken(project: Path):
    put_version(project, "vgg16", "2026-01-01T00.00.00.000Z")
    newest = put_version(project, "resnet18", "2026-03-01T00.00.00.000Z")
    put_version(project, "vgg16", "2026-02-01T00.00.00.000Z")
    assert find_newest_detector(project) == newest
    assert find_newest_detector(project / "notebooks") == newest


def test_project_without_a_detector_names_the_demo_s(project: Path):
    with pytest.raises(UserError, match="kedro run makes one, or name a detector file"):
        find_newest_detector(project)
    demo = put_version(project, "resnet18", "2026-01-01T00.00.00.000Z", "data/demo")
    with pytest.raises(UserError, match=str(demo)):
        find_newest_detector(project)


@pytest.mark.parametrize("settings", ["", "[tool.kedro]\npackage_name = 'other'", "tool = ["])
def test_outside_of_the_project_a_detector_has_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str
):
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert "is in no deepfake-detection project: name a detector file" in refused()

"""The command: what it says, how it ends, and mistakes in one line."""

import http.client
import signal
import socket
import sys

import pytest
from click.testing import CliRunner

from deepfake_detection.errors import UserError
from deepfake_detection.page.command import find_newest_detector, main


def refused(*arguments):
    """The one line that the command ends with."""
    done = CliRunner().invoke(main, [*map(str, arguments), "--no-browser"])
    assert done.exit_code == 1, done.output
    assert done.output.startswith("Error: ")
    assert done.output.count("\n") == 1
    return done.output


def test_final_detector_is_served_until_ctrl_c(final_file, final_page):
    server = final_page
    assert str(final_file) in server.said[0]
    assert f"http://127.0.0.1:{server.port}" in server.said[1]
    before = server.complaints()
    # a browser keeps its connection
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/")
    document = connection.getresponse().read().decode()
    # of the run that its settings come from
    assert "87.5 %" in document
    server.process.send_signal(signal.SIGINT)
    rest, _ = server.process.communicate(timeout=20)
    connection.close()
    assert rest.count("\n") == 1
    assert server.process.returncode == 0
    assert server.complaints() == before


def test_port_that_is_taken(detector_file):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused(detector_file, "--port", port)


def test_detector_that_is_missing_or_damaged(detector_file, tmp_path):
    missing, damaged = tmp_path / "missing.safetensors", tmp_path / "damaged.safetensors"
    damaged.write_bytes(detector_file.read_bytes()[:5000])
    for path in (missing, damaged):
        assert str(path) in refused(path, "--port", 0)


def test_device_that_is_missing(detector_file):
    assert "cuda:99" in refused(detector_file, "--port", 0, "--device", "cuda:99")


def test_libraries_that_are_missing(monkeypatch, detector_file):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'deepfake-detection[page]'" in refused(detector_file)


@pytest.mark.parametrize(
    "option",
    [
        ["--device", "gpu"], ["--port", "70000"], ["--max-megabytes", "0"],
        ["--max-megapixels", "1000"], ["--max-waiting", "0"], ["--upload-seconds", "0"],
    ],
)  # fmt: skip
def test_options_out_of_range(option):
    done = CliRunner().invoke(main, option)
    assert done.exit_code == 2
    assert option[0] in done.output
    assert option[1] in done.output


def put_version(project, model, version, data="data"):
    name = "detector.safetensors"
    path = project / data / "06_models" / model / name / version / name
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_newest_detector_of_any_backbone_is_taken(tmp_path):
    (tmp_path / "data/06_models").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    with pytest.raises(UserError, match="kedro run"):
        find_newest_detector(tmp_path)
    # only the demo has one
    demo = put_version(tmp_path, "resnet18", "2026-01-01T00.00.00.000Z", "data/demo")
    with pytest.raises(UserError, match=str(demo)):
        find_newest_detector(tmp_path)
    put_version(tmp_path, "vgg16", "2026-01-01T00.00.00.000Z")
    newest = put_version(tmp_path, "resnet18", "2026-03-01T00.00.00.000Z")
    put_version(tmp_path, "vgg16", "2026-02-01T00.00.00.000Z")
    assert find_newest_detector(tmp_path) == newest
    assert find_newest_detector(tmp_path / "notebooks") == newest


def test_outside_of_the_project_a_detector_has_to_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path) in refused()

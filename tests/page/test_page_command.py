"""The command: what it says, how it ends, and mistakes in one line."""

import signal
import socket
import sys

import pytest
from click.testing import CliRunner
from page_server import start_page

from deepfake_detection.errors import UserError
from deepfake_detection.page.command import find_newest_detector, main


def refused(*arguments):
    """The one line that the command ends with."""
    done = CliRunner().invoke(main, [*map(str, arguments), "--no-browser"])
    assert done.exit_code == 1, done.output
    assert done.output.startswith("Error: ")
    assert done.output.count("\n") == 1
    return done.output


def test_final_detector_is_served_until_ctrl_c(final_file, tmp_path):
    server = start_page(tmp_path, str(final_file)).wait()
    assert str(final_file) in server.said[0]
    assert f"http://127.0.0.1:{server.port}" in server.said[1]
    before = server.complaints()
    # a browser keeps its connection
    connection = server.connect()
    connection.request("GET", "/")
    document = connection.getresponse().read().decode()
    # of the run that its settings come from
    assert "87.5 %" in document
    server.process.send_signal(signal.SIGINT)
    rest, _ = server.process.communicate(timeout=120)
    connection.close()
    assert rest.count("\n") == 1
    assert server.process.returncode == 0
    assert server.complaints() == before


def test_mistakes_are_one_line(detector_file, tmp_path, monkeypatch):
    missing, damaged = tmp_path / "missing.safetensors", tmp_path / "damaged.safetensors"
    damaged.write_bytes(detector_file.read_bytes()[:5000])
    for path in (missing, damaged):
        assert str(path) in refused(path, "--port", 0)
    assert "cuda:99" in refused(detector_file, "--port", 0, "--device", "cuda:99")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused(detector_file, "--port", port)
    # outside of the project a detector has to be named
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path) in refused()
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


def test_newest_detector_of_any_backbone_is_taken(tmp_path):
    def put(version, data="data"):
        model, date = version.split("/")
        name = "detector.safetensors"
        path = tmp_path / data / "06_models" / model / name / f"{date}T00.00.00.000Z" / name
        path.parent.mkdir(parents=True)
        path.touch()
        return path

    (tmp_path / "data/06_models").mkdir(parents=True)
    with pytest.raises(UserError, match="kedro run"):
        find_newest_detector(tmp_path)
    # only the demo has one
    demo = put("resnet18/2026-01-01", "data/demo")
    with pytest.raises(UserError, match=str(demo)):
        find_newest_detector(tmp_path)
    put("vgg16/2026-01-01")
    newest = put("resnet18/2026-03-01")
    put("vgg16/2026-02-01")
    assert find_newest_detector(tmp_path) == newest
    assert find_newest_detector(tmp_path / "notebooks") == newest

"""The command `deepfake-page`: try a detector on pictures, in a browser on this machine."""

import socket
import threading
import webbrowser
from importlib.util import find_spec
from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError

from deepfake_detection.errors import UserError
from deepfake_detection.page.limits import Limits
from deepfake_detection.page.newest import find_newest_detector
from deepfake_detection.parameters import Device

_LIBRARIES = ("starlette", "uvicorn")
_MEGA = 10**6
# Pillow opens no larger pictures
_MOST_MEGAPIXELS = 178


def _check_device(_: click.Context, __: click.Parameter, name: str) -> str:
    try:
        return TypeAdapter(Device).validate_python(name)
    except ValidationError as error:
        raise click.BadParameter(f"{error.errors()[0]['ctx']['error']} (it is '{name}')") from None


@click.command()
@click.argument("detector", required=False, type=click.Path(path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="At 127.0.0.1; 0 takes any that is free.",
)
@click.option("--no-browser", is_flag=True, help="Do not open the page.")
@click.option(
    "--device",
    callback=_check_device,
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:N or mps.",
)
@click.option(
    "--max-megabytes",
    type=click.FloatRange(min=0, min_open=True),
    default=20,
    show_default=True,
    help="Of one picture's file.",
)
@click.option(
    "--max-megapixels",
    type=click.FloatRange(min=0, min_open=True, max=_MOST_MEGAPIXELS),
    default=50,
    show_default=True,
    help="Width × height of one picture.",
)
@click.option(
    "--max-waiting",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Pictures at a time, over all open pages; further ones wait in their browser.",
)
@click.option(
    "--upload-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=30,
    show_default=True,
    help="In which a picture has to arrive.",
)
def main(
    detector: Path | None,
    port: int,
    device: str,
    max_megabytes: float,
    max_megapixels: float,
    max_waiting: int,
    upload_seconds: float,
    *,
    no_browser: bool,
) -> None:
    """Try DETECTOR on pictures, in a page that this machine alone can reach.

    DETECTOR is a detector file or a folder of its versions; left out inside of the project, it is
    the one that was trained last. Pictures are scored in memory, and neither kept nor sent on.
    """
    check_libraries()
    path = detector or find_newest_detector(Path.cwd())
    limits = Limits(
        int(max_megabytes * _MEGA), int(max_megapixels * _MEGA), max_waiting, upload_seconds
    )
    # what is heavy comes when it is needed: --help and mistakes need not wait for it
    from deepfake_detection.page.server import open_port

    with open_port(port) as listener:
        run_page(path, device, limits, listener, opened=not no_browser)
    click.echo("The page has ended.")


def run_page(
    path: Path, device: str, limits: Limits, listener: socket.socket, *, opened: bool
) -> None:
    """Load a detector and serve its page until Ctrl-C.

    Args:
        path: A detector file, or a folder of its versions.
        device: auto, cpu, cuda, cuda:N or mps.
        limits: Of what the page takes.
        listener: Where it is served.
        opened: Whether a browser is opened.

    Raises:
        UserError: If there is no such detector, or it is damaged; or this machine lacks the device.
    """
    from deepfake_detection.models.detector_file import find_detector_file, read_detector
    from deepfake_detection.page.answers import Answers
    from deepfake_detection.page.app import make_app
    from deepfake_detection.page.server import serve

    path = find_detector_file(path)
    detector = read_detector(path)
    host, port = listener.getsockname()
    app = make_app(detector, Answers(detector, device, limits.max_pixels), limits, port)
    address = f"http://{host}:{port}"
    click.echo(f"Detector: {detector.card.backbone}, {path}")
    click.echo(f"Page:     {address}")
    click.echo("Pictures stay on this machine. Ctrl-C ends the page.")
    if opened:
        # some browsers return only when they are closed
        threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
    serve(app, listener)


def check_libraries() -> None:
    """Check that what the page is built on is installed.

    Raises:
        UserError: If it is not.
    """
    if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
        raise UserError(
            f"the page needs {' and '.join(missing)}: pip install 'deepfake-detection[page]'"
        )

"""The command `deepfake-page`: score pictures and clips in a browser on this machine."""

import socket
import threading
import webbrowser
from contextlib import closing
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any

import click

from deepfake_detection.command_options import FaceOptions, check_device, face_options
from deepfake_detection.errors import UserError, first_line

_ADDRESS = "127.0.0.1"
_POSITIVE = click.FloatRange(min=0, min_open=True)
# Pillow opens no larger images
_MEGAPIXELS = click.FloatRange(min=0, min_open=True, max=178)
_MODELS = Path("data/06_models")
_FILE = "detector.safetensors"


@click.command(context_settings={"show_default": True})
@click.argument("detector", required=False, type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="On 127.0.0.1; 0: any.")
@click.option("--no-browser", is_flag=True, help="Do not open the page.")
@click.option("--device", callback=check_device, default="auto", help="Or cpu, cuda, cuda:N, mps.")
@face_options
@click.option("--max-megabytes", type=_POSITIVE, default=20, help="Largest picture file.")
@click.option("--max-megapixels", type=_MEGAPIXELS, default=50, help="Largest width × height.")
@click.option("--max-clip-megabytes", type=_POSITIVE, default=100, help="Largest clip file.")
@click.option("--max-clip-seconds", type=_POSITIVE, default=300, help="Longest clip.")
@click.option("--frames", type=click.IntRange(1, 200), default=32, help="That are taken of a clip.")
@click.option("--max-waiting", type=click.IntRange(min=1), default=8, help="Files in the queue.")
@click.option("--upload-seconds", type=_POSITIVE, default=30, help="For a file to arrive.")
@click.option("--decode-seconds", type=_POSITIVE, default=10, help="For a picture to be decoded.")
@click.option("--clip-decode-seconds", type=_POSITIVE, default=60, help="The same of a clip.")
def main(
    detector: Path | None, port: int, device: str, *, no_browser: bool, face_options: FaceOptions,
    **limits: Any,
) -> None:  # fmt: skip
    """Score pictures and clips with DETECTOR on a page that only this machine can reach.

    DETECTOR is a detector file or a folder of its versions. Inside the project it may be left out:
    the latest one is taken. Files are scored in memory, neither stored nor sent elsewhere.
    """
    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise UserError(
            f"the page needs {' and '.join(missing)}: pip install 'deepfake-detection[page]'"
        )
    path = detector or find_newest_detector(Path.cwd())
    with open_port(port) as listener:
        # torch takes seconds to import: --help and mistakes need not wait for it
        from deepfake_detection.models.detector import Detector
        from deepfake_detection.models.detector_file import find_detector_file
        from deepfake_detection.models.face_choice import choose_faces
        from deepfake_detection.page.app import make_app
        from deepfake_detection.page.decoding_process import DecodingLimits, DecodingProcess
        from deepfake_detection.page.finished_run import find_run
        from deepfake_detection.page.requests import Limits
        from deepfake_detection.page.scoring import UploadScorer
        from deepfake_detection.page.server import serve

        path = find_detector_file(path)
        loaded = Detector.load(path)
        names = ("max_megabytes", "max_clip_megabytes", "max_waiting", "upload_seconds")
        uploads = Limits(*(limits.pop(name) for name in names))
        decoding = DecodingLimits(clip_frames=limits.pop("frames"), **limits)
        decoder = DecodingProcess(decoding)
        scorer = UploadScorer(loaded, device, decoder, choose_faces(loaded, face_options))
        app = make_app(loaded, scorer, uploads, decoding, find_run(loaded, path))
        address = f"http://{_ADDRESS}:{listener.getsockname()[1]}"
        click.echo(f"Detector: {loaded.card.backbone}, {path}\nPage:     {address}")
        click.echo("Files stay on this machine. Ctrl-C stops the page.")
        if not no_browser:
            # some browsers return only when they are closed
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
        with closing(decoder):
            serve(app, listener)
    click.echo("The page has stopped.")


def find_newest_detector(folder: Path) -> Path:
    """Find the newest detector of the project around a folder, or raise a `UserError`."""
    folder = folder.resolve()
    projects = (each for each in (folder, *folder.parents) if (each / _MODELS).is_dir())
    if (project := next(projects, None)) is None:
        raise UserError(
            f"{folder} is in no deepfake-detection project: name a detector file, as in "
            f"deepfake-page {_FILE}"
        )
    # a version is named after the time at which it was saved
    saved_at = attrgetter("parent.name")
    newest, demo = (
        max(project.glob(f"{models}/*/{_FILE}/*/{_FILE}"), key=saved_at, default=None)
        for models in (_MODELS, "data/demo/06_models")
    )
    if newest:
        return newest
    other = f"name one, as in deepfake-page {demo}" if demo else "name a detector file"
    raise UserError(
        f"there is no detector in {project / _MODELS}/*/ yet: kedro run makes one, or {other}"
    )


def open_port(port: int) -> socket.socket:
    """Listen on a port of this machine's own address, or raise a `UserError`."""
    try:
        return socket.create_server((_ADDRESS, port))
    except OSError as error:
        raise UserError(
            f"--port: {_ADDRESS}:{port} cannot be opened ({error.strerror or first_line(error)}). "
            "0 takes any free one."
        ) from None

import io
import os
import signal
import threading

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# a busy machine takes longer than the time that hypothesis allows an example
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

if "PYTEST_XDIST_WORKER" in os.environ:
    # one test process for each core: more threads than that would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# a job in the background ignores Ctrl-C, which tests send, and so would its children
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item):
    if item.get_closest_marker("cuda") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("this machine has no GPU")


@pytest.fixture(scope="session")
def photograph():
    """Smooth random colours: what an image file compresses and scales like a photograph."""

    def draw(seed=0, size=(32, 32)):
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)

    return draw


@pytest.fixture(scope="session")
def encode():
    """The bytes of a picture as a file of some type."""

    def save(image, kind="PNG", **options):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return save


@pytest.fixture(scope="session")
def put_files():
    """Write files by their paths inside a folder."""

    def put(folder, files):
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    return put

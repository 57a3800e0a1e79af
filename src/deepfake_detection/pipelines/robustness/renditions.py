"""Scoring image files under distortions: each is decoded once, in bounded memory."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from tqdm import tqdm

from deepfake_detection.images.distortions import Distortion, read_distorted
from deepfake_detection.images.prefetch import batched, prefetch
from deepfake_detection.metrics.intervals import Floats
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.devices import choose_device, keeping_memory
from deepfake_detection.parameters import EvaluationParameters

# Bytes of a window's renditions. Two windows are in memory at once, and a copy of one.
_WINDOW = 2**27


def score_renditions(
    detector: Detector,
    folder: Path,
    paths: Sequence[str],
    distortions: Sequence[Distortion],
    seed: int,
    evaluation: EvaluationParameters,
) -> tuple[Floats, Floats, dict[str, str]]:
    """Score each image under each distortion, in fp32.

    Files are decoded and distorted in as many threads as there are cores, a window of images at
    a time, while the detector scores the window before it. The distortions come before the
    detector's own resize and crop. The seed is that of the noise.

    Returns:
        Logits (fake minus real, without temperature) and training distances: float64, [images,
        distortions] each, NaN for files that could not be read, and for distances that are unknown;
        and the reasons for unread files, by path.
    """
    scores = np.full((2, len(paths), len(distortions)), np.nan)
    problems: dict[str, str] = {}
    render = partial(read_distorted, folder, distortions, seed, detector.prepare)
    window = images_of_a_window(len(distortions), detector.preprocessing.crop)
    if detector.reads_files:
        # whole pictures may be large
        window = int(joblib.cpu_count())
    rendered = prefetch(render, paths, threads=joblib.cpu_count(), window=window)
    start, device = 0, choose_device(evaluation.device)
    bar = tqdm(total=len(paths), desc="Robustness", unit="image", leave=False, disable=None)
    # around all windows: each by itself would give its memory back at its end
    with bar, keeping_memory(device):
        for results in batched(rendered, window):
            pixels: dict[int, list[Any]] = {}
            for row, result in enumerate(results, start):
                if isinstance(result, str):
                    problems[paths[row]] = result
                else:
                    pixels[row] = result
            if pixels:
                renditions: Any = [each for row in pixels.values() for each in row]
                scored = detector.describe_pixels(
                    renditions if detector.reads_files else np.stack(renditions),
                    batch_size=evaluation.batch_size,
                    device=device,
                )
                scores[:, list(pixels)] = np.reshape(scored, (2, len(pixels), -1))
            start += len(results)
            bar.update(len(results))
    return scores[0], scores[1], problems


def images_of_a_window(distortions: int, crop: int) -> int:
    """Images in a window: as many as fit its bytes, at least one for each core."""
    return max(int(joblib.cpu_count()), _WINDOW // (distortions * crop * crop * 3))

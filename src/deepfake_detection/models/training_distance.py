"""How far an image is from the training images, in the features of some of a network's layers.

Probabilistic PCA (Tipping and Bishop 1999) describes the standardised features of training images
by one Gaussian; the distance of an image is its Mahalanobis distance to it (Lee et al. 2018),
divided by the root of the number of features: about 1 for a training image.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

Float32s = np.ndarray[Any, np.dtype[np.float32]]
Float64s = np.ndarray[Any, np.dtype[np.float64]]

# More components than this cost space in the detector file, and tell other images no better
_MOST_COMPONENTS = 128
# Fewer training images for each component describe themselves alone
_IMAGES_PER_COMPONENT = 4
# Constant features decide nothing: of the largest scale, and of a standardised feature's variance
_LEAST_SCALE = 1e-3
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class TrainingDistance:
    """A Gaussian of training features, and the distances of the validation images from it.

    Attributes:
        mean: float32, [features].
        scale: float32, [features], above 0: centred features are divided by it.
        components: float32, [components, features], orthonormal.
        variances: float32, [components + 1]: along each component, and along any other direction.
        validation: float32, [images], ascending: distances of the validation images; may be empty.
    """

    mean: Float32s
    scale: Float32s
    components: Float32s
    variances: Float32s
    validation: Float32s

    @classmethod
    def fit(cls, training: Float32s) -> Self | None:
        """Fit to features of training images, [images, features]; no validation images yet.

        None if the images are too few, or all the same.
        """
        components = min(
            _MOST_COMPONENTS, training.shape[1] - 1, len(training) // _IMAGES_PER_COMPONENT
        )
        if components < 1 or not training.var(axis=0).any():
            return None
        mean, scale = (
            training.mean(axis=0, dtype=np.float64),
            training.std(axis=0, dtype=np.float64),
        )
        scale = np.maximum(scale, _LEAST_SCALE * float(scale.max())).astype(np.float32)
        standardised = (training - mean) / scale
        pca = PCA(components, random_state=0).fit(standardised)
        variances = np.append(pca.explained_variance_, pca.noise_variance_)
        return cls(
            mean.astype(np.float32),
            scale,
            np.ascontiguousarray(pca.components_, dtype=np.float32),
            np.maximum(variances, _LEAST_VARIANCE).astype(np.float32),
            np.empty(0, np.float32),
        )

    def of(self, features: Float32s) -> Float64s:
        """Distances of features, [images, features]: float64, [images]."""
        centred = (features.astype(np.float64) - self.mean) / self.scale
        components = self.components.astype(np.float64)
        along = centred @ components.T
        across = centred - along @ components
        *known, other = self.variances.astype(np.float64)
        squares = (along**2 / known).sum(axis=1) + (across**2).sum(axis=1) / other
        return np.asarray(np.sqrt(squares / features.shape[1]))

    def unlikeness(self, distances: Float64s) -> Float64s:
        """Share of the validation images that are nearer, in [0, 1]; ties count half.

        Its mean over a set of images is the ROC AUC of telling them from validation.
        """
        nearer = np.searchsorted(self.validation, distances.astype(np.float32), side="left")
        as_near = np.searchsorted(self.validation, distances.astype(np.float32), side="right")
        return np.asarray((nearer + as_near) / (2 * max(len(self.validation), 1)))

    def tensors(self) -> dict[str, Tensor]:
        """The attributes by name, as tensors."""
        return {each.name: torch.from_numpy(getattr(self, each.name)) for each in fields(self)}


def sample_rows(number: int, most: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """At most so many of the rows 0 … number − 1, evenly spread."""
    return np.unique(np.linspace(0, max(number - 1, 0), min(number, most)).round().astype(np.intp))


@contextmanager
def recording_features(head: nn.Module, layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect the outputs of `layers`, then what the head is given, of this thread's forward pass.

    Each is float32, [n, features]: places of a grid and tokens are averaged. Layers whose output
    is neither of these are left out.
    """
    features: list[Tensor] = []
    thread = threading.get_ident()

    def record(value: Tensor | tuple[Tensor, ...]) -> None:
        if threading.get_ident() != thread:
            return
        if isinstance(value, Tensor) and value.ndim in (2, 3, 4):
            features.append(_pool(value.float()))

    hooks = [layer.register_forward_hook(lambda _, __, output: record(output)) for layer in layers]
    hooks.append(head.register_forward_pre_hook(lambda _, inputs: record(inputs[0])))
    try:
        yield features
    finally:
        for hook in hooks:
            hook.remove()


def join_features(recorded: Sequence[Tensor]) -> Tensor:
    """One row for each image, [n, features], of what was recorded in a forward pass.

    Layers that cut images into pieces have more rows, and are left out.
    """
    return torch.cat([each for each in recorded if len(each) == len(recorded[-1])], dim=1)


def _pool(values: Tensor) -> Tensor:
    if values.ndim == 4:
        # a grid is square: swin transformers have channels in the last dimension
        last = values.shape[1] == values.shape[2] != values.shape[3]
        return values.mean(dim=(1, 2) if last else (2, 3))
    return values.mean(dim=1) if values.ndim == 3 else values

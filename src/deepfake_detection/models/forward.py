"""From pixels to what a detector's network says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from deepfake_detection.models.backbones import find_head
from deepfake_detection.models.devices import choose_device, choose_precision, use_ieee_float32
from deepfake_detection.models.training_distance import (
    Float32s,
    Float64s,
    join_features,
    recording_features,
)
from deepfake_detection.parameters import PreprocessingParameters

if TYPE_CHECKING:
    from deepfake_detection.models.detector import Detector

# Of the network's outputs
REAL, FAKE = 0, 1


class Forward:
    """A detector's network, moved to a device, from pixels to logits and training distances.

    Device, precision and flip: as for `Detector.score`. In bf16, the weights stay in fp32.
    """

    def __init__(
        self, detector: Detector, device: str, precision: str, *, flip: bool | None = None
    ) -> None:
        self.device = choose_device(device)
        self._bf16 = choose_precision(precision, self.device, "precision") == "bf16"
        use_ieee_float32(self.device)
        network = detector.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network: nn.Module = network.eval()
        self._normalise = Normalise(detector.preprocessing).to(self.device)
        self._distance = detector.training_distance
        self._flip = detector.flip_average if flip is None else flip
        self._described = [network.get_submodule(name) for name in detector.card.described_layers]

    def __call__(self, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> tuple[Float64s, Float64s]:
        """Logits (fake minus real) and training distances of pixels, uint8 [n, crop, crop, 3].

        Both are float64, [n]. Distances are NaN if the detector has no measure of them.
        """
        outputs = self._measure(pixels)
        if self._flip:
            outputs = (outputs + self._measure(pixels[:, :, ::-1])) / 2
        logits, distances = outputs
        return logits, distances

    def _measure(self, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Float64s:
        """Logits and distances of the pixels as they are, [2, n]."""
        if self._distance is None:
            return np.stack([self._compute_logits(pixels), np.full(len(pixels), np.nan)])
        logits, features = self.describe(pixels)
        return np.stack([logits, self._distance.of(features)])

    def describe(self, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> tuple[Float64s, Float32s]:
        """Logits of the pixels as they are; features of layers and head: float32, [n, features]."""
        with recording_features(find_head(self._network), self._described) as features:
            logits = self._compute_logits(pixels)
        return logits, join_features(features).cpu().numpy()

    @torch.inference_mode()
    def _compute_logits(self, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Float64s:
        batch = self._normalise(to_batch(pixels, self.device))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            outputs = self._network(batch)
        # on the CPU: not every device has double precision
        outputs = outputs.cpu().double()
        return np.asarray(outputs[:, FAKE] - outputs[:, REAL])


class Normalise(nn.Module):
    """torchvision's ToTensor and Normalize in one step: uint8 [n, 3, h, w] to float32."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: PreprocessingParameters) -> None:
        super().__init__()
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name))
            self.register_buffer(name, values.view(3, 1, 1))

    def forward(self, batch: Tensor) -> Tensor:
        """Normalise; floating-point input is in 0…255 too."""
        # the first operation makes a new tensor, so the others may work in place
        return (batch / 255).sub_(self.mean).div_(self.std)


def to_batch(pixels: np.ndarray[Any, np.dtype[np.uint8]], device: torch.device | str) -> Tensor:
    """Move pixels, uint8 [n, h, w, 3], to a device as [n, 3, h, w] in channels-last layout."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2)

"""Where the face is in each training picture, as an ellipse: self-blending's mask starts there."""

from __future__ import annotations

import torch
from torch import Tensor

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import PreprocessingParameters, SelfBlendingParameters
from deepfake_detection.training.batches import LabelledPixels

# Our own measures: the ellipse reaches from the brows to the chin and across the cheeks. As shares
# of the way from the eyes to the mouth: where its centre is, its radius down, and the least one
# across, which counts in a face that is turned aside. Else that is a share of the eyes' distance
_CENTRE, _DOWN, _LEAST_ACROSS = 0.55, 1.05, 0.7
_ACROSS = 1.1


def find_ellipses(
    pictures: LabelledPixels,
    blending: SelfBlendingParameters,
    preprocessing: PreprocessingParameters,
) -> Tensor:
    """The ellipse of each face: float32, [n, 2, 3], an affine map.

    It maps x and y, as shares of the preprocessed picture's sides, to where the ellipse is the
    unit circle.

    Raises:
        UserError: If `blending.mask` is landmarks, and those are not known.
    """
    if blending.mask == "ellipse":
        (left, top), (across, down) = blending.centre, blending.radii
        ellipse = torch.tensor([[1 / across, 0, -left / across], [0, 1 / down, -top / down]])
        return ellipse.expand(len(pictures), 2, 3)
    if pictures.landmarks is None:
        raise UserError(
            "parameter 'training.self_blending.mask' is landmarks, and those of these images are "
            "not known. They come with extracted faces: kedro run --pipelines face_extraction, "
            "then data_preparation with data_preparation.images=faces. Or set it to ellipse"
        )
    # files of crops are square, and their middle is kept
    kept = preprocessing.resize / preprocessing.crop
    return _enclose(0.5 + (pictures.landmarks - 0.5) * kept)


def _enclose(landmarks: Tensor) -> Tensor:
    """The ellipses around five landmarks, [n, 5, 2]."""
    left_eye, right_eye, _, left_mouth, right_mouth = landmarks.unbind(1)
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    way = mouth - eyes
    length = way.norm(dim=1, keepdim=True).clamp(min=1e-3)
    down = way / length
    across = torch.stack((down[:, 1], -down[:, 0]), dim=1)
    apart = (right_eye - left_eye).norm(dim=1, keepdim=True)
    half = torch.maximum(apart * _ACROSS, length * _LEAST_ACROSS)
    axes = torch.stack((across / half, down / (length * _DOWN)), dim=1)
    centre = (eyes + way * _CENTRE).unsqueeze(2)
    return torch.cat((axes, -axes @ centre), dim=2)

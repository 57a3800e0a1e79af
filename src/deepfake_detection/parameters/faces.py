"""The block `face_extraction`."""

from typing import Annotated, Literal

from pydantic import Field

from deepfake_detection.parameters.base import Block, Count, Number, Pixels, Share, Side, Whole

# A network searches a picture of at most this side: 4096² take about 8 GB
DetectionSize = Annotated[Whole, Field(ge=64, le=4096)]


class CropParameters(Block):
    """How a crop is cut around a face and stored."""

    align: Literal["none", "similarity"]
    margin: Annotated[Number, Field(ge=0.5, le=5)]
    size: Side
    border: Literal["reflected", "black"]
    format: Literal["png", "jpeg"]
    quality: Annotated[Whole, Field(ge=1, le=100)]


class YunetParameters(Block):
    """The file of weights of the detector `yunet`."""

    file: str | None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None


MinSize = Annotated[Number, Field(ge=1)]
# The standard deviation of the Laplacian is at most 8 times that of brightness
MinSharpness = Annotated[Number, Field(gt=0, le=8)]
MaxTurn = Annotated[Number, Field(gt=0)]


class FaceDetectionParameters(Block):
    """How faces are found in a picture, and which of them are left out."""

    detector: Literal["centerface", "yunet"]
    yunet: YunetParameters
    detection_size: DetectionSize
    min_score: Annotated[Share, Field(gt=0)]
    min_size: MinSize
    min_sharpness: MinSharpness | None
    max_turn: MaxTurn | None


class FaceExtractionParameters(FaceDetectionParameters):
    """How faces are taken out of videos and photographs: block `face_extraction`."""

    frames_per_video: Count
    every_seconds: Annotated[Number, Field(gt=0)] | None
    tracks: Literal["largest", "all"]
    crop: CropParameters
    max_pixels: Pixels
    processes: Count | None
    seconds_without_progress: Annotated[Number, Field(gt=0)]

    def _check(self) -> None:
        if self.detector == "yunet" and self.yunet.file is None:
            raise ValueError("yunet.file must be given when detector is 'yunet'")

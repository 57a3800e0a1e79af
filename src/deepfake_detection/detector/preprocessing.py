"""From an opened picture to the square of pixels that a network sees."""

import numpy as np
from PIL import Image

from deepfake_detection.parameters import PreprocessingParameters

# A picture longer than this many times its short side is first cut to that, around its centre:
# resizing a strip of 10 × 100,000 pixels would otherwise need gigabytes, all outside the crop.
_LONGEST_ASPECT = 16


def crop_pixels(
    image: Image.Image, preprocessing: PreprocessingParameters
) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Resize the shorter side, cut out the centre.

    The same pixels as torchvision's `Resize` and `CenterCrop` give for a PIL image (bilinear,
    antialiased), without importing it.

    Args:
        image: An RGB picture of any size.
        preprocessing: Sizes in pixels.

    Returns:
        uint8, [crop, crop, 3], 0…255.
    """
    image = _cut_strip(image)
    width, height = image.size
    size, crop = preprocessing.resize, preprocessing.crop
    if width <= height:
        resized = (size, max(size, int(size * height / width)))
    else:
        resized = (max(size, int(size * width / height)), size)
    if image.size != resized:
        image = image.resize(resized, Image.Resampling.BILINEAR)
    left, top = round((resized[0] - crop) / 2), round((resized[1] - crop) / 2)
    return np.asarray(image.crop((left, top, left + crop, top + crop)))


def _cut_strip(image: Image.Image) -> Image.Image:
    width, height = image.size
    longest = _LONGEST_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return image.crop((left, top, left + min(width, longest), top + min(height, longest)))

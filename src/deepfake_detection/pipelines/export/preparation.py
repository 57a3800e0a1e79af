"""The code that stands beside an ONNX file: from a picture file to what the file takes."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from deepfake_detection.parameters import PreprocessingParameters
from deepfake_detection.pipelines.export.onnx_model import INPUT, OUTPUT


def render_prepare(preprocessing: PreprocessingParameters) -> str:
    """Python code that needs Pillow and NumPy alone, with a detector's sizes filled in.

    Its function `prepare` gives the pixels of `open_picture` and `crop_pixels`; greyscale of more
    than 8 bit, it refuses.

    Args:
        preprocessing: Sizes in pixels.
    """
    environment = Environment(
        loader=PackageLoader("deepfake_detection.pipelines.export"),
        autoescape=False,  # noqa: S701  (code, filled with two numbers)
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    template = environment.get_template("prepare.py.j2")
    return template.render(
        resize=preprocessing.resize, crop=preprocessing.crop, input=INPUT, output=OUTPUT
    )

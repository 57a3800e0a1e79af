"""The Python file next to an ONNX file, which prepares images for it."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from deepfake_detection.parameters import PreprocessingParameters
from deepfake_detection.pipelines.export.onnx_model import INPUT, OUTPUT


def render_prepare(preprocessing: PreprocessingParameters) -> str:
    """Render Python code that needs only Pillow and NumPy.

    Its function `prepare` gives the same pixels as `open_picture` and `crop_pixels`, but refuses
    greyscale of more than 8 bits.

    Args:
        preprocessing: Sizes in pixels.
    """
    environment = Environment(
        loader=PackageLoader("deepfake_detection.pipelines.export"),
        autoescape=False,  # noqa: S701  (it is code, with two numbers filled in)
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    template = environment.get_template("prepare.py.j2")
    return template.render(
        resize=preprocessing.resize, crop=preprocessing.crop, input=INPUT, output=OUTPUT
    )

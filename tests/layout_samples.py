"""Trees of the data sets' layouts, made of empty or tiny files."""

import io

from picture_samples import make_image_set
from PIL import Image

from deepfake_detection.images.layouts import read_layout

CLASSES = {"real": "real", "fake_deepfake": "fake", "fake_face2face": "fake"}


def tiny_png(shade):
    """A PNG of a few pixels; of another shade, another file."""
    picture = Image.linear_gradient("L").resize((16, 16)).convert("RGB")
    picture.putpixel((0, 0), (shade % 256, shade // 256 % 256, shade // 65536))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def put_tree(folder, *paths, **texts):
    """Write empty files, and texts by name; a name's `__` stands for `.`, as in `train__json`."""
    for path in paths:
        at = folder / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(b"")
    for name, text in texts.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def read(folder, layout="auto", *, videos=True, classes=CLASSES, **options):
    """What the layout says of each file, by path; its `attrs` hold name and notes."""
    image_set = make_image_set(classes, layout=layout, options=options)
    labelled = read_layout(folder, image_set, videos=videos)
    table = labelled.files.astype(object).where(labelled.files.notna(), None).set_index("path")
    table.attrs = {"layout": labelled.layout, "notes": labelled.notes}
    return table


def said(table):
    return "\n".join(table.attrs["notes"])

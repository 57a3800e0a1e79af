import io
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_samples import png_of_size
from PIL import Image

from deepfake_detection.images import reading
from deepfake_detection.images.parallel import map_in_processes
from deepfake_detection.images.reading import (
    TooManyPixelsError,
    UnreadablePictureError,
    open_picture,
    read_picture,
    to_rgb,
)

MANY = settings(max_examples=150, deadline=None)

STARTS = [
    b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"RIFF \0\0\0WEBPVP8 ",
]  # fmt: skip


def reason_for(content, max_pixels=None):
    with pytest.raises(UnreadablePictureError) as caught:
        open_picture(content, max_pixels)
    return str(caught.value)


def assert_pixels(opened, expected):
    assert opened.mode == "RGB"
    np.testing.assert_array_equal(opened, expected.convert("RGB"))


def assert_read_or_refused(content):
    try:
        assert open_picture(content, 10_000).mode == "RGB"
    except UnreadablePictureError as error:
        assert str(error)  # noqa: PT017


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "PPM", "TGA", "PCX", "ICO", "WEBP"])
def test_files_without_loss_give_the_same_pixels_whatever_their_type(kind, photograph, encode):
    image = photograph(size=(32, 32)).quantize(64).convert("RGB")
    content = encode(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert_pixels(open_picture(content, types=("PNG", kind)), image)
    with pytest.raises(UnreadablePictureError):
        open_picture(content, types=("JPEG",))


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "RGB"), ("WEBP", "RGB"), ("JPEG2000", "RGB"), ("JPEG", "CMYK")]
)
def test_files_with_loss_give_nearly_the_same_pixels(kind, mode, photograph, encode):
    image = photograph(size=(64, 48))
    quality = {} if kind == "JPEG2000" else {"quality": 95}
    opened = open_picture(encode(image.convert(mode), kind, **quality))
    assert (opened.mode, opened.size) == ("RGB", (64, 48))
    difference = np.asarray(opened, dtype=float) - np.asarray(image, dtype=float)
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_every_mode_of_a_file_becomes_rgb(mode, photograph, encode):
    image = photograph().convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    options = {"transparency": 0} if mode == "P" else {}
    # an alpha channel is dropped, not blended over black
    assert_pixels(open_picture(encode(image, "PNG", **options)), image)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_greyscale_is_scaled_to_eight(kind, encode):
    levels = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    opened = np.asarray(open_picture(encode(Image.fromarray(levels), kind)))
    assert (opened == np.arange(256).reshape(16, 16, 1)).all()


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_floating_point_files_are_scaled_to_eight_bit(top, encode):
    values = np.linspace(0, top, 256, dtype=np.float32).reshape(16, 16)
    values[0, 0] = np.nan
    opened = np.asarray(open_picture(encode(Image.fromarray(values), "TIFF")))[..., 0]
    assert (opened.min(), opened.max()) == (0, 255)
    assert (np.diff(opened.ravel().astype(int)) >= 0).all()


def test_the_first_frame_of_an_animation_counts(photograph, encode):
    frames = [photograph(seed).quantize(64) for seed in range(3)]
    animated = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert_pixels(open_picture(animated), frames[0])


def heic_of(image, **options):
    pytest.importorskip("pillow_heif").register_heif_opener()
    buffer = io.BytesIO()
    image.save(buffer, "HEIF", quality=-1, **options)
    return buffer.getvalue()


def test_a_heic_picture_is_turned_upright_and_checked(photograph):
    image = photograph(size=(64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = heic_of(image, exif=exif.tobytes())
    opened = open_picture(content)
    assert opened.size == (48, 64)
    difference = np.asarray(opened, float) - np.asarray(image.transpose(Image.Transpose.ROTATE_270))
    assert np.abs(difference).mean() < 10
    assert "max_pixels" in reason_for(content, 64 * 48 - 1)
    assert reason_for(content[: len(content) // 2])


def test_a_heic_picture_names_the_missing_package(photograph, monkeypatch):
    content = heic_of(photograph())
    monkeypatch.setattr(reading, "readable_types", lambda: ("JPEG", "PNG"))
    assert "pillow-heif" in reason_for(content)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_s_orientation_is_applied(orientation, photograph, encode):
    upright = photograph(size=(32, 24))
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    held = upright.transpose(turns[orientation]) if orientation in turns else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_pixels(open_picture(encode(held, "PNG", exif=exif)), upright)


def test_each_damage_has_its_reason(photograph, encode):
    jpeg, png = encode(photograph(size=(64, 64)), "JPEG"), encode(photograph(), "PNG")
    contents = (b"", b"name,label\n0.png,real\n", jpeg[:-9], png[: len(png) // 2])
    reasons = [reason_for(content) for content in (*contents, png_of_size(32, 32))]
    assert len(set(reasons[:3])) == 3
    assert all(reasons)


def test_too_many_pixels_are_refused_before_decoding(photograph, encode):
    for size, max_pixels in (((30_000, 30_000), None), ((200, 200), 10_000)):
        with pytest.raises(TooManyPixelsError):
            open_picture(png_of_size(*size), max_pixels=max_pixels)
    content = encode(photograph(size=(20, 10)))
    assert open_picture(content, max_pixels=200).size == (20, 10)
    assert re.search(r"20×10.*max_pixels \(199\)", reason_for(content, max_pixels=199))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_an_index_took_can_be_opened_again_without_its_limit(photograph, encode, monkeypatch):
    """A max_pixels above the size that Pillow warns of holds in later steps too."""
    large = encode(photograph(size=(40, 40)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert open_picture(large, max_pixels=1600).size == (40, 40)
    assert open_picture(large).size == (40, 40)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with pytest.raises(TooManyPixelsError):
        open_picture(large, max_pixels=1600)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@MANY
@given(st.binary(max_size=300), st.sampled_from(STARTS))
def test_random_bytes_are_read_or_refused(content, start):
    assert_read_or_refused(start + content)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@MANY
@given(
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), max_size=4),
)
def test_a_damaged_file_is_read_or_refused(kind, kept, flips, photograph, encode):
    content = bytearray(encode(photograph(), kind))
    for place, bit in flips:
        content[int(place * len(content))] ^= 1 << bit
    assert_read_or_refused(bytes(content[: int(kept * len(content))]))


def test_a_file_is_read_by_its_path_and_an_open_picture_as_it_is(tmp_path, photograph):
    photograph().save(tmp_path / "a.png")
    assert_pixels(read_picture(tmp_path / "a.png"), photograph())
    with pytest.raises(UnreadablePictureError):
        read_picture(tmp_path / "gone.png")
    held = photograph(size=(16, 8)).convert("RGBA")
    held.getexif()[0x0112] = 6
    assert_pixels(to_rgb(held), photograph(size=(16, 8)).transpose(Image.Transpose.ROTATE_270))
    assert held.getexif()[0x0112] == 6


def _length(content):
    return len(content)


def png(size, rows, passes):
    """A grey PNG file whose data end after so many rows."""
    data = b"".join(b"\0" + b"\xc8" * width for width, height in passes for _ in range(height))
    length = len(data) if rows is None else sum(width + 1 for width, _ in passes[:1]) * rows
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, len(passes) > 1)),
        (b"IDAT", zlib.compress(data[:length])),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.data())
@MANY
def test_a_png_file_that_lacks_rows_is_refused(size, data):
    assert_pixels(open_picture(png(size, None, [size])), Image.new("L", size, 200))
    rows = data.draw(st.integers(0, size[1] - 1))
    with pytest.raises(UnreadablePictureError):
        open_picture(png(size, rows, [size]))


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)))
@MANY
def test_an_interlaced_png_file_is_whole_or_refused(size):
    starts = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
              (0, 1, 1, 2)]  # fmt: skip
    counts = [(len(range(x, size[0], dx)), len(range(y, size[1], dy))) for x, y, dx, dy in starts]
    passes = [each for each in counts if all(each)]
    content = png(size, None, [*passes, (0, 0)])
    assert_pixels(open_picture(content), Image.new("L", size, 200))
    if len(passes) > 1:
        with pytest.raises(UnreadablePictureError):
            open_picture(png(size, passes[0][1], passes))


def test_damaged_metadata_leave_good_pixels_readable(photograph, encode):
    image = photograph(size=(40, 30))
    whole = encode(image)
    text = b"zTXtComment\0\0" + b"not compressed"
    chunk = struct.pack(">I", len(text) - 4) + text + b"\0\0\0\0"
    assert_pixels(open_picture(whole[:33] + chunk + whole[33:]), image)
    exif = b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 50
    for kind in ("PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        assert_pixels(open_picture(encode(image, kind, exif=exif, **options)), image)


def test_twelve_bits_a_pixel_are_scaled_to_eight():
    values = np.arange(64 * 48).reshape(48, 64)
    packed = bytes.fromhex("".join(f"{value:03x}" for value in values.ravel()))
    tags = {256: 64, 257: 48, 258: 12, 259: 1, 262: 1, 273: 122, 277: 1, 278: 48, 279: len(packed)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    start = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    opened = open_picture(start + packed)
    np.testing.assert_array_equal(np.asarray(opened)[..., 0], values >> 4)


def test_no_decoder_writes_to_the_terminal(photograph, encode, capfd):
    for compression in ("tiff_lzw", "tiff_deflate", "packbits"):
        content = bytearray(encode(photograph(), "TIFF", compression=compression))
        content[20:200:7] = b"\xff" * len(content[20:200:7])
        assert_read_or_refused(bytes(content))
    assert capfd.readouterr().err == ""


def test_few_bytes_keep_no_decoder_busy(encode):
    with pytest.raises(TooManyPixelsError):
        open_picture(png_of_size(1, 10**6))
    content = encode(Image.new("L", (2000, 2000), 3), "JPEG", progressive=True)
    open_picture(content)
    scan = content[content.rindex(b"\xff\xc4") : -2]
    with pytest.raises(UnreadablePictureError):
        open_picture(content[:-2] + scan * 2500 + b"\xff\xd9")


@pytest.mark.parametrize("kind", ["EPS", "PDF", "PCX", "SGI"])
def test_types_that_are_no_photographs_are_not_opened(kind, photograph, encode):
    with pytest.raises(UnreadablePictureError):
        open_picture(encode(photograph(), kind))


def test_a_file_of_many_bytes_is_not_read(tmp_path):
    path = tmp_path / "big.jpg"
    with path.open("wb") as file:
        file.truncate(40 * 1000**3)  # takes no space
    tracemalloc.start()
    with pytest.raises(UnreadablePictureError, match="40,000,000,000"):
        read_picture(path)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_processes_give_results_in_order():
    items = [b"x" * length for length in (5, 0, 9, 2)]
    assert list(map_in_processes(_length, items, description="Lengths", total=4)) == [5, 0, 9, 2]
    assert list(map_in_processes(_length, [], description="Lengths", total=0)) == []

"""Limits of faces: what is too small, too blurred or turned away is left out, with the reason."""

import io

import numpy as np
import pytest
from face_samples import face_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from deepfake_detection.datasets.forging import Source, make_image
from deepfake_detection.faces.cropping import CropRecipe
from deepfake_detection.faces.detection import Face, make_face_detector
from deepfake_detection.faces.extraction import extract_faces_of_file, read_record
from deepfake_detection.faces.finding import DEFAULT_DETECTION, find_faces
from deepfake_detection.faces.limits import measure_sharpness, measure_turn

PEOPLE = range(6)
# Millimetres right, down and towards the camera: eyes, nose, corners of the mouth
HEAD = np.array([[-31, 0, 0], [31, 0, 0], [0, 35, 28], [-24, 68, 6], [24, 68, 6]], float)
NO_LIMITS = {"min_sharpness": None, "max_turn": None}


@pytest.fixture(scope="module")
def portraits():
    """Portraits of 240 pixels, each with its face."""
    detector = make_face_detector(face_settings())
    pictures = [make_image(Source.read("main", each), "real", 0, seed=0, size=240)[0]
                for each in PEOPLE]  # fmt: skip
    return [(picture, detector(picture)[0]) for picture in pictures]


def resized(picture, face, width):
    """The picture and its face, with the face so many pixels across."""
    ratio = width / face.width
    size = tuple(round(side * ratio) for side in picture.size)
    small = picture.resize(size, Image.Resampling.LANCZOS)
    return small, Face(face.box * ratio, face.landmarks * ratio, face.score)


def blurred(picture, face, share):
    """The picture, blurred by a Gaussian of this share of the face's width."""
    return picture.filter(ImageFilter.GaussianBlur(share * face.width))


def turned(yaw, roll=0.0, scale=1.0):
    """A face on a head that is turned by these radians."""
    right, down, near = HEAD.T
    flat = np.stack([right * np.cos(yaw) + near * np.sin(yaw), down])
    rotation = [[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]
    return Face(np.array([0, 0, 1, 1.0]), (rotation @ flat * scale + 100).T, 0.9)


def as_jpeg(picture, quality):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def test_a_project_and_a_detector_without_one_have_the_same_defaults():
    assert face_settings(detection_size=640, min_score=0.35).model_dump(
        include=set(DEFAULT_DETECTION.model_dump())
    ) == DEFAULT_DETECTION.model_dump()  # fmt: skip


@pytest.mark.parametrize("number", PEOPLE)
def test_blurred_faces_are_below_the_default_and_small_or_compressed_ones_are_not(
    portraits, number
):
    picture, face = portraits[number]
    limit = face_settings().min_sharpness
    for width in (face.width, 64, 32):
        small, inside = resized(picture, face, width)
        assert measure_sharpness(small, inside) > 2 * limit
        assert measure_sharpness(as_jpeg(small, 10), inside) > limit
        assert measure_sharpness(blurred(small, inside, 0.06), inside) < limit
    assert measure_sharpness(blurred(picture, face, 0.03), face) > limit


@pytest.mark.parametrize("number", PEOPLE)
def test_sharpness_depends_neither_on_size_nor_on_contrast(portraits, number):
    picture, face = portraits[number]
    for share in (0.02, 0.04):
        soft = blurred(picture, face, share)
        sharpness = measure_sharpness(soft, face)
        for width in (80, 40):
            assert measure_sharpness(*resized(soft, face, width)) == pytest.approx(
                sharpness, rel=0.2
            )
        pale = Image.blend(soft, Image.new("RGB", soft.size, "grey"), 0.5)
        assert measure_sharpness(pale, face) == pytest.approx(sharpness, rel=0.15)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-500, 500), min_size=4, max_size=4),
    st.sampled_from([(1, 1), (3, 90), (90, 70)]),
)
def test_a_box_anywhere_has_a_sharpness(edges, size):
    left, right = sorted(edges[:2])
    top, bottom = sorted(edges[2:])
    face = Face(np.array([left, top, right, bottom]), np.zeros((5, 2)), 0.9)
    noise = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    assert 0 <= measure_sharpness(Image.fromarray(noise), face) <= 8
    assert measure_sharpness(Image.new("RGB", size, "grey"), face) == 0


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1.5), st.floats(-3, 3), st.floats(0.05, 50))
def test_turn_grows_with_the_angle_and_depends_neither_on_roll_nor_on_size(yaw, roll, scale):
    turn = measure_turn(turned(yaw, roll, scale))
    assert turn == pytest.approx(measure_turn(turned(yaw)), abs=1e-6)
    assert turn == pytest.approx(measure_turn(turned(-yaw)), abs=1e-6)
    assert turn < measure_turn(turned(yaw + 0.02))


def test_a_profile_is_beyond_the_default_and_three_quarters_are_not():
    limit = face_settings().max_turn
    assert measure_turn(turned(0)) == pytest.approx(0, abs=1e-9)
    assert measure_turn(turned(np.radians(45))) < limit < measure_turn(turned(np.radians(75)))
    together = Face(np.array([0, 0, 1, 1.0]), np.ones((5, 2)), 0.9)
    assert measure_turn(together) == np.inf


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "min_sharpness"),
        ({"min_size": 999}, "min_size"),
        ({"min_sharpness": None, "max_turn": 1e-6}, "max_turn"),
        (NO_LIMITS, None),
    ],
)
def test_extraction_leaves_out_faces_beyond_the_limits(portraits, tmp_path, limits, said):
    path = tmp_path / "photo.png"
    blurred(*portraits[1], 0.07).save(path)
    chosen = face_settings(**limits)
    extract_faces_of_file(path, tmp_path / "crops", chosen, make_face_detector(chosen))
    record = read_record(path, tmp_path / "crops")
    assert len(record["faces"]) == (said is None)
    of_frame, of_file = [row["reason"] for row in record["lost"]] or ("", "")
    assert bool(of_frame) == bool(of_file) == (said is not None)
    assert (said or "") in of_frame
    assert (said or "") in of_file


def test_in_a_crowd_the_largest_faces_are_taken_and_the_others_named(portraits):
    picture, face = portraits[0]
    crowd = [Face(face.box, face.landmarks, 0.9)] * 15
    crowd += [Face(face.box * (1 - each / 100), face.landmarks, 0.9) for each in range(1, 6)]
    faces, rejected = find_faces(lambda _: crowd[::-1], picture, face_settings())
    assert len(faces) == 16
    assert [each.face for each in rejected] == crowd[16:]
    assert all("16" in each.reason for each in rejected)


def test_an_older_recipe_has_no_limit_but_size():
    settings = face_settings()
    recipe = CropRecipe.of(settings, settings.crop, "a" * 64)
    assert (recipe.min_size, recipe.min_sharpness, recipe.max_turn) == (32, 0.3, 0.7)
    older = recipe.model_dump(exclude={"min_sharpness", "max_turn"})
    read = CropRecipe.model_validate(older)
    assert (read.min_size, read.min_sharpness, read.max_turn) == (32, None, None)
    assert read.fingerprint != recipe.fingerprint

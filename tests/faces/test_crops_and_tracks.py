"""Face detection, crops and tracks."""

import numpy as np
import pytest
from face_samples import face_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from deepfake_detection.datasets.forging import Source, make_image
from deepfake_detection.errors import UserError
from deepfake_detection.faces.cropping import CropRecipe, cut_crop, landmarks_in_crop
from deepfake_detection.faces.detection import Face, make_face_detector
from deepfake_detection.faces.tracking import Tracker, choose_largest
from deepfake_detection.parameters import CropParameters

# ArcFace's five points in 112×112 pixels
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]]
)  # fmt: skip


def crop_of(**changes):
    base = {"align": "none", "margin": 1.3, "size": 60, "border": "reflected", "format": "png"}
    return CropParameters.model_validate(base | {"quality": 95} | changes)


def face_at(x, y, width, score=0.9):
    """A face whose box has its upper left corner at a place."""
    box = np.array([x, y, x + width, y + width], float)
    return Face(box, np.array([x, y]) + TEMPLATE / 112 * width, score)


@pytest.fixture(scope="module")
def detector():
    return make_face_detector(face_settings())


@pytest.mark.parametrize("number", [0, 1, 2, 7])
def test_a_drawn_face_is_found_where_it_is(detector, number):
    portrait, _ = make_image(Source.read("main", number), "real", 0, seed=0, size=160)
    picture = Image.new("RGB", (500, 300), (90, 110, 130))
    picture.paste(portrait, (250, 90))
    face = detector(picture)[0]
    left, top, right, bottom = face.box
    assert 250 < left < right < 410
    assert 90 < top < bottom < 260
    eyes, mouth = face.landmarks[:2], face.landmarks[3:]
    assert eyes[0, 0] < eyes[1, 0]
    assert mouth[0, 0] < mouth[1, 0]
    assert eyes[:, 1].max() < face.landmarks[2, 1] < mouth[:, 1].min()


def test_faces_of_a_picture_are_found_at_any_size(detector):
    portrait, _ = make_image(Source.read("main", 0), "real", 0, seed=0, size=200)
    found = [detector(portrait.resize((side, side)))[0] for side in (200, 400, 1600)]
    shares = [face.width / side for face, side in zip(found, (200, 400, 1600), strict=True)]
    assert max(shares) - min(shares) < 0.12


def test_nothing_is_found_in_an_empty_picture(detector):
    assert detector(Image.new("RGB", (320, 240), (128, 128, 128))) == []


def test_a_file_of_weights_has_to_be_there_and_the_one(tmp_path):
    path = tmp_path / "yunet.onnx"
    wanted = {"detector": "yunet", "yunet": {"file": str(path), "sha256": "0" * 64}}
    with pytest.raises(UserError, match=r"yunet\.file"):
        make_face_detector(face_settings(**wanted))
    path.write_bytes(b"weights")
    with pytest.raises(UserError, match=r"yunet\.sha256"):
        make_face_detector(face_settings(**wanted))


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-20, 90), st.floats(-20, 70), st.floats(10, 80), st.floats(0.5, 3),
    st.sampled_from(["none", "similarity"]), st.sampled_from(["reflected", "black"]),
)  # fmt: skip
def test_a_crop_has_its_size_wherever_the_face_is(x, y, width, margin, align, border):
    picture = Image.fromarray(np.full((90, 120, 3), 200, np.uint8))
    crop = cut_crop(
        picture, face_at(x, y, width), crop_of(margin=margin, align=align, border=border)
    )
    assert crop.size == (60, 60)
    assert crop.mode == "RGB"
    if border == "reflected":
        assert np.asarray(crop).min() > 190


def test_black_borders_are_black():
    picture = Image.fromarray(np.full((90, 120, 3), 200, np.uint8))
    crop = cut_crop(picture, face_at(-10, 30, 30), crop_of(border="black"))
    assert np.asarray(crop)[:, 0].max() < 10
    assert np.asarray(crop)[:, -1].min() > 190


@settings(max_examples=40, deadline=None)
@given(st.floats(40, 140), st.floats(40, 140), st.floats(30, 60), st.floats(1, 2))
def test_an_unaligned_crop_is_a_square_around_the_box(x, y, width, margin):
    picture = Image.new("RGB", (260, 260), (20, 20, 20))
    ImageDraw.Draw(picture).rectangle((x, y, x + width, y + width), fill=(220, 220, 220))
    crop = np.asarray(cut_crop(picture, face_at(x, y, width), crop_of(margin=margin)))[..., 0]
    inside = (crop > 120).sum() / crop.size
    assert inside == pytest.approx(1 / margin**2, abs=0.12)
    rows, columns = np.nonzero(crop > 120)
    assert abs(rows.mean() - 29.5) < 2
    assert abs(columns.mean() - 29.5) < 2


@settings(max_examples=40, deadline=None)
@given(st.floats(-40, 40), st.floats(0.5, 4), st.floats(1, 2))
def test_alignment_puts_landmarks_on_the_template(degrees, scale, margin):
    # the face of the template, turned, enlarged and moved
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = (TEMPLATE - 56) @ turn.T + [400, 300]
    picture = Image.new("RGB", (800, 600))
    draw = ImageDraw.Draw(picture)
    radius = 5 * scale
    for colour, (x, y) in zip([80, 120, 160, 200, 240], landmarks, strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(colour,) * 3)
    face = Face(np.array([0, 0, 1, 1.0]), landmarks, 0.9)
    crop = np.asarray(cut_crop(picture, face, crop_of(align="similarity", margin=margin, size=112)))
    expected = (0.5 + (TEMPLATE / 112 - 0.5) / margin) * 112
    for colour, (x, y) in zip([80, 120, 160, 200, 240], expected, strict=True):
        assert abs(int(crop[int(y), int(x), 0]) - colour) < 12


@given(
    st.floats(-30, 30), st.floats(60, 120), st.floats(1, 2), st.sampled_from(["none", "similarity"])
)  # fmt: skip
def test_landmarks_are_told_where_the_crop_shows_them(degrees, width, margin, align):
    """Each is drawn as a spot in the picture, and found again in the crop."""
    face = face_at(150, 140, width)
    turn = np.exp(1j * np.radians(degrees))
    places = (face.landmarks @ [1, 1j] - (200 + 200j)) * turn + 200 + 200j
    face = Face(face.box, np.stack((places.real, places.imag), axis=1), face.score)
    crop = crop_of(align=align, margin=margin, size=200)
    for (x, y), told in zip(face.landmarks, landmarks_in_crop(face, crop), strict=True):
        picture = Image.new("L", (400, 400))
        ImageDraw.Draw(picture).ellipse((x - 3, y - 3, x + 3, y + 3), fill=255)
        light = np.asarray(cut_crop(picture.convert("RGB"), face, crop).convert("L"), float)
        if told.min() > 0.05 and told.max() < 0.95:
            rows, columns = np.indices(light.shape) + 0.5
            seen = np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum() / 200
            # a spot's centre is half a pixel of the picture away at most
            assert seen == pytest.approx(told, abs=0.02)


def test_the_recipe_tells_what_changes_a_crop():
    def fingerprint(weights="a" * 64, **changes):
        changed = face_settings(**changes)
        return CropRecipe.of(changed, changed.crop, weights).fingerprint

    first = fingerprint()
    assert fingerprint(frames_per_video=3, processes=1) == first
    crop = face_settings().crop.model_dump()
    assert fingerprint(weights="b" * 64) != first
    assert fingerprint(detection_size=128) != first
    assert fingerprint(crop=crop | {"margin": 1.5}) != first
    assert fingerprint(crop=crop | {"format": "jpeg"}) != first


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(2, 20))
def test_people_who_stay_apart_keep_their_tracks(seed, people, frames):
    random = np.random.default_rng(seed)
    starts = np.array([[300 * person, 50] for person in range(people)], float)
    tracker, seen = Tracker(), {}
    for _ in range(frames):
        starts += random.uniform(-15, 15, starts.shape)
        order = random.permutation(people)
        tracks = tracker.add([face_at(*starts[person], 60) for person in order])
        for person, track in zip(order, tracks, strict=True):
            assert seen.setdefault(person, track) == track
    assert len(set(seen.values())) == people


def test_a_missing_face_keeps_its_track_for_three_frames():
    tracker, face = Tracker(), face_at(10, 10, 40)
    assert tracker.add([face]) == [0]
    for _ in range(3):
        assert tracker.add([]) == []
    assert tracker.add([face]) == [0]
    for _ in range(4):
        tracker.add([])
    assert tracker.add([face]) == [1]


def test_a_lone_face_that_jumps_is_the_same_person_unless_its_size_differs():
    tracker = Tracker()
    places = [(0, 0), (400, 10), (20, 300)]
    assert [tracker.add([face_at(*place, 60)]) for place in places] == [[0]] * 3
    assert tracker.add([face_at(900, 900, 20)]) == [1]


def test_the_largest_track_is_that_of_the_largest_and_surest_faces():
    small, large, unsure = face_at(0, 0, 20), face_at(0, 0, 30), face_at(0, 0, 36, score=0.4)
    assert choose_largest([0, 1, 0], [small, large, small]) == 1
    assert choose_largest([0, 1, 0, 0], [small, large, small, small]) == 0
    assert choose_largest([0, 1], [unsure, large]) == 1

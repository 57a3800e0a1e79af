"""Frames of videos: which are chosen, that they are the right ones, and what broken files give."""

from fractions import Fraction

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video_samples import (
    cut_off,
    decode_all,
    number_of,
    picture_of,
    write_sound,
    write_video,
)

from deepfake_detection.faces.video import (
    UnreadableVideoError,
    choose_by_time,
    choose_evenly,
    read_frames,
    read_timeline,
)

MOST = 10**8


def read(path, wanted=None, threads=1):
    timeline = read_timeline(path, MOST)
    numbers = range(len(timeline.seconds)) if wanted is None else wanted
    return list(read_frames(path, timeline, list(numbers), MOST, threads))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_chosen_frames_are_those_of_decoding_everything(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("video") / "any.mp4"
    frames = data.draw(st.integers(1, 40))
    options = {
        "g": str(data.draw(st.sampled_from([1, 3, 12, 250]))),
        "bf": str(data.draw(st.integers(0, 3))),
        "x264-params": f"open-gop={data.draw(st.integers(0, 1))}:scenecut=0",
    }
    write_video(path, frames, codec_options=options)
    everything = decode_all(path)
    assert len(everything) == frames
    wanted = sorted(data.draw(st.sets(st.integers(0, frames - 1), min_size=1)))
    found = read(path, wanted, threads=data.draw(st.integers(1, 3)))
    assert [frame.number for frame in found] == wanted
    for frame in found:
        assert np.array_equal(np.asarray(frame.image), everything[frame.number])


@given(st.integers(1, 2000), st.integers(1, 100))
def test_even_choice_has_the_middle_frame_of_each_equal_part(total, count):
    class Timeline:
        seconds = np.arange(total)

    chosen = choose_evenly(Timeline, count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(total, count)
    if total >= count:
        middles = [(part + 0.5) * total / count for part in range(count)]
        assert all(
            number <= middle < number + 1 for number, middle in zip(chosen, middles, strict=True)
        )


def test_choice_by_time_takes_the_first_frame_that_is_not_earlier(tmp_path):
    times = [0, 100, 120, 500, 510, 520, 900, 1000, 1500]
    path = write_video(tmp_path / "variable.mp4", len(times), times=times)
    timeline = read_timeline(path, MOST)
    assert np.allclose(timeline.seconds * 1000, times, atol=1)
    assert choose_by_time(timeline, 0.5) == [0, 3, 7, 8]
    assert [round(frame.seconds, 2) for frame in read(path, [3, 7])] == [0.5, 1.0]


CODECS = {
    "h264.mp4": {},
    "ten_bits.mkv": {"codec": "ffv1", "pix_fmt": "yuv420p10le"},
    "odd_sizes.mkv": {"codec": "ffv1", "pix_fmt": "yuv444p", "size": (33, 47)},
    "interlaced.mpg": {"codec": "mpeg2video", "codec_options": {"flags": "+ilme+ildct"}},
    "interlaced.mp4": {"codec_options": {"x264-params": "interlaced=1:tff=1"}},
    "no_container.h264": {"container_format": "h264"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "old.avi": {"codec": "mpeg4", "codec_options": {"qmax": "2"}},
    "stream.ts": {},
    "windows.wmv": {"codec": "wmv2"},
    "animation.gif": {"codec": "gif", "pix_fmt": "rgb8"},
}


@pytest.mark.parametrize("name", CODECS)
def test_frames_of_each_kind_of_file_are_in_order(tmp_path, name):
    path = write_video(tmp_path / name, 12, **CODECS[name])
    found = read(path)
    assert [number_of(frame.image) for frame in found] == list(range(12))
    assert found[0].image.size == CODECS[name].get("size", (64, 48))


def test_chosen_frames_of_av1_are_those_of_decoding_everything(tmp_path):
    options = {"preset": "10", "g": "20", "svtav1-params": "lp=1"}
    path = write_video(
        tmp_path / "a.mp4", 60, codec="libsvtav1", size=(96, 64), codec_options=options
    )
    everything = decode_all(path)
    wanted = list(range(3, 60, 7))
    for frame in read(path, wanted):
        assert np.array_equal(np.asarray(frame.image), everything[frame.number])


def test_stored_pixels_that_are_no_squares_become_squares(tmp_path):
    path = write_video(tmp_path / "wide.mp4", 2, pixel_shape=Fraction(3, 2))
    assert read(path)[0].image.size == (96, 48)
    assert read(write_video(tmp_path / "odd.mp4", 2, pixel_shape=Fraction(50)))[0].image.size == (
        64, 48,
    )  # fmt: skip


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_a_turned_video_is_upright(tmp_path, turn):
    # the encoder sees the picture turned the other way, as the sensor of a phone does
    upright = picture_of(9)
    pictures = [np.rot90(upright, -turn // 90).copy()] * 3
    size = pictures[0].shape[1::-1]
    path = write_video(tmp_path / "phone.mp4", 3, pictures=pictures, size=size, turn=turn)
    found = np.asarray(read(path)[0].image).astype(int)
    assert found.shape == upright.shape
    assert np.abs(found - upright).mean() < 4


def test_interlaced_fields_are_not_a_comb(tmp_path):
    comb = np.zeros((48, 64, 3), np.uint8)
    comb[::2] = 255
    path = write_video(
        tmp_path / "comb.mpg", 3, pictures=[comb] * 3, codec="mpeg2video",
        codec_options={"flags": "+ilme+ildct"},
    )  # fmt: skip
    found = np.asarray(read(path)[1].image).astype(int)
    assert np.abs(np.diff(found[4:-4, 8:-8], axis=0)).max() < 60


def test_damaged_frames_have_a_reason_and_the_others_their_numbers(tmp_path):
    noise = np.random.default_rng(0)
    pictures = [
        np.clip(picture_of(each, (160, 120)) + noise.integers(-9, 9, (120, 160, 1)), 0, 255)
        .astype(np.uint8)
        for each in range(30)
    ]  # fmt: skip
    path = write_video(
        tmp_path / "damaged.mp4", 30, pictures=pictures, size=(160, 120), codec_options={"g": "5"}
    )
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    found = read(path)
    assert [frame.number for frame in found] == list(range(30))
    assert any(frame.reason for frame in found)
    whole = [frame for frame in found if frame.image is not None]
    assert len(whole) >= 20
    assert all(number_of(frame.image) == frame.number for frame in whole)


def write_nothing(path):
    path.write_bytes(b"")


def write_text(path):
    path.write_text("a video\n" * 50)


def write_list(path):
    other = write_video(path.with_name("other.mp4"))
    path.write_text(f"ffconcat version 1.0\nfile '{other}'\n")


def write_playlist(path):
    other = write_video(path.with_name("other.ts"))
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n")


def write_without_end(path):
    cut_off(write_video(path, 40))


def write_unreadable(path):
    path.mkdir()


BROKEN = {
    "empty": write_nothing,
    "text": write_text,
    "list of other files": write_list,
    "playlist of other files": write_playlist,
    "sound alone": write_sound,
    "cut off before its index": write_without_end,
    "a folder": write_unreadable,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_video_is_an_error_with_a_reason(tmp_path, kind):
    path = tmp_path / "clip.mp4"
    BROKEN[kind](path)
    with pytest.raises(UnreadableVideoError) as error:
        read_timeline(path, MOST)
    assert 5 < len(str(error.value)) < 150


def test_a_video_without_frames_is_an_error(tmp_path):
    path = write_video(tmp_path / "none.mkv", 0, codec="ffv1")
    with pytest.raises(UnreadableVideoError):
        read_timeline(path, MOST)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(UnreadableVideoError):
        read_timeline(tmp_path / "missing.mp4", MOST)


def test_a_video_of_too_many_pixels_is_not_decoded(tmp_path):
    path = write_video(tmp_path / "large.mp4")
    with pytest.raises(UnreadableVideoError, match="max_pixels"):
        read_timeline(path, 64 * 48 - 1)


def test_a_cut_video_gives_its_frames_and_a_complaint(tmp_path):
    path = cut_off(write_video(tmp_path / "cut.mkv", 60, codec_options={"g": "5"}))
    timeline = read_timeline(path, MOST)
    assert 0 < len(timeline.seconds) < 60
    assert "6.0 s" in timeline.complaint
    numbers = [number_of(frame.image) for frame in read(path) if frame.image]
    assert numbers == list(range(len(numbers)))


def test_a_header_that_promises_too_much_is_a_complaint(tmp_path):
    path = write_video(tmp_path / "wrong.avi", 20, codec="mpeg4")
    content = bytearray(path.read_bytes())
    # dwLength of the stream's header (AVI RIFF File Reference)
    length = content.index(b"strh") + 8 + 32
    content[length : length + 4] = (5000).to_bytes(4, "little")
    path.write_bytes(content)
    timeline = read_timeline(path, MOST)
    assert len(timeline.seconds) == 20
    assert "5000" in timeline.complaint
    assert len([frame for frame in read(path) if frame.image]) == 20


def test_a_whole_video_has_no_complaint(tmp_path):
    assert read_timeline(write_video(tmp_path / "whole.mp4"), MOST).complaint is None


def test_nothing_stays_open(tmp_path):
    path = write_video(tmp_path / "clip.mp4")
    before = psutil.Process().num_fds()
    for _ in range(20):
        timeline = read_timeline(path, MOST)
        next(read_frames(path, timeline, [0, 5], MOST)).image.load()
    assert psutil.Process().num_fds() <= before

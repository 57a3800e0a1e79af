"""Draw the portraits that the package ships for its demo; they are drawings and show nobody.

    python tools/draw_portraits.py            # into src/deepfake_detection/datasets/portraits
    python tools/draw_portraits.py --folder /tmp/portraits --people 2

Writes a JPEG file for each person, with the person's five portraits side by side, and
landmarks.json with eyes, mouth and outline of each face. The same random seed draws the same
portraits. After a change, raise FORGING_VERSION in deepfake_detection/datasets/forging.py, so that
existing folders of generated faces are made anew.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from drawing.canvas import Floats, nearness
from drawing.identity import Identity, Moment, draw_identity, draw_moment, draw_scene
from drawing.portrait import draw_portrait, radius_at
from joblib import Parallel, delayed
from PIL import Image

FOLDER = Path(__file__).parents[1] / "src/deepfake_detection/datasets/portraits"
SEED = 0
PEOPLE = {"main": 60, "elsewhere": 20}  # people of each set, numbered in this order
PORTRAITS = 5  # of each person
SIZE = 320  # pixels; a multiple of 16, so that neighbours share no JPEG block
MARGIN = 299 / 320  # the demo's images are smaller parts of the portraits
QUALITY = 89  # of the JPEG files


def _with_margin(frame: Moment) -> Moment:
    return replace(
        frame,
        x=0.5 + MARGIN * (frame.x - 0.5),
        y=0.5 + MARGIN * (frame.y - 0.5),
        scale=MARGIN * frame.scale,
    )


def _in_pixels(x: Floats, y: Floats, moment: Moment) -> Floats:
    """Pixels, (x, y) along the last axis, of places on the head in face units."""
    cos, sin = np.cos(moment.roll), np.sin(moment.roll)
    columns = moment.x + moment.scale * (cos * x - sin * y)
    rows = moment.y + moment.scale * (sin * x + cos * y)
    return np.stack([SIZE * columns, SIZE * rows], axis=-1).round().astype(int)


def _landmarks(person: Identity, moment: Moment, cover: Floats) -> dict[str, list[list[int]]]:
    """Eyes, mouth, and the outline of the face without hair and headwear, in pixels."""
    u = np.array([-person.eye_distance, person.eye_distance, 0.0])
    v = np.array([person.eye_height, person.eye_height, person.mouth_height])
    near = nearness(u, v)  # a turn moves features the more, the nearer they are
    points = _in_pixels(u + moment.yaw * near, v + moment.pitch * near, moment)
    # in 30 directions from the middle: the last place before something covers the face
    angles = np.linspace(-np.pi, np.pi, 30, endpoint=False)
    radii = np.linspace(0.2, 0.97, 70)[:, None] * radius_at(person, angles)
    places = _in_pixels(radii * np.cos(angles), radii * np.sin(angles), moment)
    columns, rows = np.moveaxis(places.clip(0, SIZE - 1), -1, 0)
    covered = cover[rows, columns] > 0.2
    last = np.where(covered.any(0), np.maximum(covered.argmax(0) - 3, 0), -1)
    outline = places[last, np.arange(len(angles))]
    return {"points": points.tolist(), "outline": outline.tolist()}


def draw_person(path: Path, number: int) -> list[dict[str, list[list[int]]]]:
    """Write a person's portraits to a file, 1600 × 320 pixels; return their landmarks."""
    person, scene = draw_identity(SEED, number), draw_scene(SEED, number)
    moments = [_with_margin(draw_moment(SEED, number, frame)) for frame in range(PORTRAITS)]
    drawn = [draw_portrait(person, scene, moment, SIZE) for moment in moments]
    rgb = np.concatenate([portrait.rgb for portrait in drawn], axis=2).transpose(1, 2, 0)
    picture = Image.fromarray((np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8))
    picture.save(path, quality=QUALITY, subsampling="4:2:0", optimize=True, progressive=True)
    return [
        _landmarks(person, moment, portrait.cover)
        for portrait, moment in zip(drawn, moments, strict=True)
    ]


def draw_all(folder: Path, people: dict[str, int]) -> None:
    """Write portraits and landmarks into a folder; `people` has the number of each set."""
    folder.mkdir(parents=True, exist_ok=True)
    first = dict(zip(PEOPLE, np.cumsum([0, *PEOPLE.values()]).tolist(), strict=False))
    jobs = [
        delayed(draw_person)(folder / f"{name}_{number:02}.jpg", first[name] + number)
        for name, count in people.items()
        for number in range(count)
    ]
    landmarks = iter(Parallel(n_jobs=-1)(jobs))
    table = {name: [next(landmarks) for _ in range(count)] for name, count in people.items()}
    lines = ",\n".join(
        f' "{name}": [\n  ' + ",\n  ".join(json.dumps(person) for person in rows) + "\n ]"
        for name, rows in table.items()
    )
    (folder / "landmarks.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--people", type=int, default=60, help="at most so many of each set")
    given = parser.parse_args()
    draw_all(given.folder, {name: min(count, given.people) for name, count in PEOPLE.items()})


if __name__ == "__main__":
    main()

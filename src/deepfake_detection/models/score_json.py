"""Scores as JSON, and the JSON Schema of it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from deepfake_detection.models.scoring import Score
from deepfake_detection.models.video_scoring import VideoScore

# NaN where there is no verdict, for which JSON has no number
_NUMBERS = ("fake_probability", "logit")


def as_json(score: Score | VideoScore) -> dict[str, Any]:
    """A score as what JSON can hold: null stands for the numbers of a file without a verdict."""
    made = asdict(score)
    return made | {name: None for name in _NUMBERS if math.isnan(made[name])}


def json_schemas(template: str) -> dict[str, Any]:
    """JSON Schemas of what `as_json` gives of a `Score` and a `VideoScore`, and of their parts.

    `template` is how they refer to each other, such as `#/components/schemas/{model}`.
    """
    adapters = [(kind, "serialization", TypeAdapter(kind)) for kind in (Score, VideoScore)]
    _, made = TypeAdapter.json_schemas(adapters, ref_template=template)  # type: ignore[arg-type]
    schemas: dict[str, Any] = made["$defs"]
    for name in (Score.__name__, VideoScore.__name__):
        for number in _NUMBERS:
            schemas[name]["properties"][number]["type"] = ["number", "null"]
    return schemas

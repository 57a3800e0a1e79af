"""The fingerprint of a split, and the hashes of its images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def fingerprint_of_split(split: pd.DataFrame) -> str:
    """SHA-256 over a split's sorted (sha256, label, subset), hexadecimal."""
    lines = split["sha256"] + " " + split["label"].astype(str) + " " + split["subset"]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def pack_hashes(sha256s: Iterable[str]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Hexadecimal SHA-256s as uint8, [n, 32]."""
    raw = bytes.fromhex("".join(sha256s))
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, 32)


def unpack_hashes(packed: np.ndarray[Any, np.dtype[np.uint8]]) -> set[str]:
    """The inverse of `pack_hashes`, as a set."""
    return {row.tobytes().hex() for row in packed}

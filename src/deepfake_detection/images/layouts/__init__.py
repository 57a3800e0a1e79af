"""Layouts of folders: which label, source, group and official subset each file has.

A layout is a class in a module of its own, and a line in `registry`.
"""

from deepfake_detection.images.layouts.base import FileRow, LabelledFiles, Layout, to_table
from deepfake_detection.images.layouts.reading import keep_official_subset, read_layout
from deepfake_detection.images.layouts.registry import LAYOUTS

__all__ = [
    "LAYOUTS",
    "FileRow",
    "LabelledFiles",
    "Layout",
    "keep_official_subset",
    "read_layout",
    "to_table",
]

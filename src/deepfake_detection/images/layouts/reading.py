"""Read a folder by its layout."""

import logging
from collections import Counter
from pathlib import Path

from deepfake_detection.errors import UserError, suggest
from deepfake_detection.images.layouts.base import FileRow, LabelledFiles, Layout, to_table
from deepfake_detection.images.layouts.registry import LAYOUTS
from deepfake_detection.parameters import ImageSetParameters

log = logging.getLogger(__name__)


def read_layout(
    folder: Path, image_set: ImageSetParameters, *, videos: bool = False
) -> LabelledFiles:
    """Find the files of a folder, with label, source, group and official subset by its layout.

    Args:
        folder: The folder.
        image_set: Names the layout, or `auto`, and its options.
        videos: Whether videos are wanted. Without, layouts of data sets pass them over; with, they
            pass over frames and crops of videos that are there themselves.

    Returns:
        All files; those that are not used have a reason. Its notes are logged.

    Raises:
        UserError: If the layout is unknown, the folder is not of it, or holds nothing to use.
    """
    layout = _choose(folder, image_set)(folder, image_set)
    rows = _leave_out(layout, layout.read(videos=videos))
    for note in layout.notes:
        log.info("%s", note)
    return LabelledFiles(layout.name, to_table(rows), layout.notes)


def _choose(folder: Path, image_set: ImageSetParameters) -> type[Layout]:
    if image_set.layout != "auto":
        if image_set.layout not in LAYOUTS:
            known = ["auto", *LAYOUTS]
            raise UserError(
                f"parameter 'layout' is {image_set.layout!r}: {suggest(image_set.layout, known)} "
                f"Layouts: {', '.join(known)}"
            )
        return LAYOUTS[image_set.layout]
    for name, layout in LAYOUTS.items():
        if layout.recognises(folder, image_set):
            log.info("%s looks like the layout %s", folder, name)
            return layout
    return LAYOUTS["class_folders"]  # whose error names the folders that are missing


def _leave_out(layout: Layout, rows: list[FileRow]) -> list[FileRow]:
    """Drop the classes of `leave_out`."""
    names = layout.options.leave_out
    there = Counter(row.class_name for row in rows if row.class_name)
    known = [*there, *(name for name in layout.known_classes if name not in there)]
    for name in names:
        if name not in known:
            raise UserError(
                f"parameter 'layout_options.leave_out': there is no class '{name}' in "
                f"{layout.folder}; {suggest(name, known)} Classes: {', '.join(known)}"
            )
    if names:
        said = ", ".join(f"{name} ({there[name]} files)" for name in names)
        layout.notes.append(f"Left out, as layout_options.leave_out says: {said}")
    return [row for row in rows if row.class_name not in names]

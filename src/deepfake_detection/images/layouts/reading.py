"""Read a folder by its layout."""

import logging
from pathlib import Path

import pandas as pd

from deepfake_detection.errors import UserError, suggest
from deepfake_detection.images.files import files_below
from deepfake_detection.images.layouts.base import LabelledFiles, Layout, to_table
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
    layout = _choose(folder, image_set, videos=videos)(folder, image_set)
    rows = layout.read(videos=videos)
    for note in layout.notes:
        log.info("%s", note)
    table = keep_official_subset(to_table(rows), image_set.layout_options.official_subset)
    return LabelledFiles(layout.name, table, layout.notes)


def keep_official_subset(files: pd.DataFrame, wanted: str | None) -> pd.DataFrame:
    """The rows of one official subset (None: all rows), and those of files that cannot be used.

    Raises:
        UserError: If the subset is empty.
    """
    if wanted is None:
        return files
    labelled = files["label"].notna()
    kept = labelled & (files["official_subset"] == wanted)
    if not kept.any():
        raise UserError(
            f"parameter 'layout_options.official_subset' is '{wanted}', and no file is of it: "
            f"{', '.join(sorted(files['official_subset'].dropna().unique())) or 'none'} were found"
        )
    log.info(
        "Only the official subset %s is used (layout_options.official_subset): %s of %s files",
        wanted, f"{kept.sum():,}", f"{labelled.sum():,}",
    )  # fmt: skip
    return files[kept | ~labelled].reset_index(drop=True)


def _choose(folder: Path, image_set: ImageSetParameters, *, videos: bool) -> type[Layout]:
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
            if name != "class_folders":
                log.info("%s looks like the layout %s", folder, name)
            return layout
    if videos:
        if next(files_below(folder), None) is None:
            raise UserError(f"{folder} holds no files")
        raise UserError(
            f"{folder} looks like no layout that is known here. Name its class folders in "
            "parameter 'classes', or its layout in 'layout' (unlabelled takes files without "
            f"labels). Layouts: {', '.join(LAYOUTS)}"
        )
    return LAYOUTS["class_folders"]  # whose error names the folders that are missing

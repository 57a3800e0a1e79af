"""The pipeline `data_preparation`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.data_preparation.nodes import (
    audit_split,
    draw_leaks,
    index_images,
    list_rejected_images,
    scan_faces,
    scan_images,
    split_images,
    summarise_split,
)
from deepfake_detection.pipelines.data_preparation.shortcuts import (
    audit_shortcuts,
    draw_shortcuts,
    list_file_properties,
)


def create_indexing_pipeline(*, faces: bool) -> Pipeline:
    """Index the faces of the face index or a folder of images, and list what is not used."""
    images = ["face_index"] if faces else []
    # the face index has its own
    recipe = [] if faces else ["params:face_extraction"]
    return Pipeline(
        [
            Node(
                scan_faces if faces else scan_images,
                inputs=["training_images", *images, "params:data_preparation", *recipe],
                outputs="scanned_images",
                name="scan_images",
            ),
            Node(
                list_rejected_images,
                inputs="scanned_images",
                outputs="rejected_images",
                name="list_rejected_images",
            ),
            Node(
                index_images,
                # rejected_images is an input so that it is saved before this node stops because
                # of too many of them
                inputs=["scanned_images", "rejected_images", "params:data_preparation"],
                outputs="image_index",
                name="index_images",
            ),
        ]
    )


def create_leakage_pipeline() -> Pipeline:
    """Audit a split for leakage."""
    return Pipeline(
        [
            Node(
                audit_split,
                inputs=[
                    "image_index",
                    "split",
                    "split_summary",
                    "training_images",
                    "params:leakage",
                ],
                outputs=["leakage_audit", "leakage_summary"],
                name="audit_split",
            ),
            Node(
                draw_leaks,
                inputs=["leakage_audit", "training_images", "params:leakage"],
                outputs="leakage_gallery",
                name="draw_leaks",
            ),
        ]
    )


def create_shortcut_pipeline(*, faces: bool = False) -> Pipeline:
    """Audit how well files, and statistics of pixels, tell the classes apart without faces.

    `faces`: the images are those of the face index, which knows their sizes in the source.
    """
    face_index = ["face_index"] if faces else []
    return Pipeline(
        [
            Node(
                list_file_properties,
                inputs=["image_index", "training_images", "params:shortcuts", *face_index],
                outputs="file_properties",
                name="list_file_properties",
            ),
            Node(
                audit_shortcuts,
                inputs=["file_properties", "params:shortcuts"],
                outputs=["shortcut_audit", "shortcut_summary"],
                name="audit_shortcuts",
            ),
            Node(
                draw_shortcuts,
                inputs=["file_properties", "shortcut_audit"],
                outputs="shortcut_figure",
                name="draw_shortcuts",
            ),
        ]
    )


def create_splitting_pipeline(*, audited: bool) -> Pipeline:
    """Split the indexed images into subsets.

    `audited`: the summary tells what the audit of shortcuts warns of.
    """
    audit = ["shortcut_summary"] if audited else []
    set_up = ["params:split", "params:data_preparation"]
    return Pipeline(
        [
            Node(
                split_images,
                inputs=["image_index", "params:split"],
                outputs="split",
                name="split_images",
            ),
            Node(
                summarise_split,
                inputs=["split", "image_index", *set_up, *audit],
                outputs="split_summary",
                name="summarise_split",
            ),
        ]
    )


def create_pipeline(*, faces: bool = False) -> Pipeline:
    """Index images, split them into subsets, and audit files for shortcuts and the split for leaks.

    `faces`: the images are those of the face index, not a folder of images.
    """
    return (
        create_indexing_pipeline(faces=faces)
        + create_shortcut_pipeline(faces=faces)
        + create_splitting_pipeline(audited=True)
        + create_leakage_pipeline()
    )

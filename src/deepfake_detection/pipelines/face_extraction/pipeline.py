"""The pipeline `face_extraction`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.face_extraction.nodes import draw_contact_sheet, extract_faces


def create_pipeline() -> Pipeline:
    """Cut faces out of videos and photographs."""
    return Pipeline(
        [
            Node(
                extract_faces,
                inputs=["videos", "faces", "params:face_extraction", "params:data_preparation"],
                outputs=["face_index", "lost_faces"],
                name="extract_faces",
            ),
            Node(
                draw_contact_sheet,
                inputs=["face_index", "faces"],
                outputs="face_contact_sheet",
                name="draw_contact_sheet",
            ),
        ]
    )

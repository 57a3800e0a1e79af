"""Files without labels."""

from collections import Counter
from pathlib import Path

from deepfake_detection.errors import UserError
from deepfake_detection.images.files import is_video
from deepfake_detection.images.layouts.base import FileRow, Layout
from deepfake_detection.images.layouts.data_set import list_files
from deepfake_detection.parameters import ImageSetParameters


class Unlabelled(Layout):
    """Any videos and photographs, to make crops of; nothing can be learnt from them."""

    name = "unlabelled"

    @classmethod
    def recognises(cls, folder: Path, image_set: ImageSetParameters) -> bool:  # noqa: ARG003
        """Never: labels that were not found should be an error."""
        return False

    def read(self, *, videos: bool) -> list[FileRow]:
        """List all files.

        Raises:
            UserError: If pictures alone are wanted, which means that they need labels.
        """
        if not videos:
            raise UserError(
                "parameter 'layout' is 'unlabelled', and images need labels here. Only the "
                "pipeline face_extraction takes files without labels"
            )
        passed: Counter[str] = Counter()
        files = list_files(self.folder, passed)
        self.note_passed(passed)
        return [FileRow(path, medium="video" if is_video(path) else None) for path in files]

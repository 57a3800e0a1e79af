"""A folder for each class, and the same inside a folder for each subset."""

from pathlib import Path

from deepfake_detection.images.files import is_video
from deepfake_detection.images.layouts.base import FileRow, Layout
from deepfake_detection.images.scanning import find_files
from deepfake_detection.parameters import ImageSetParameters


class ClassFolders(Layout):
    """The folders of the parameter `classes`."""

    name = "class_folders"

    @classmethod
    def recognises(cls, folder: Path, image_set: ImageSetParameters) -> bool:
        """Whether one of the class folders is there."""
        return any((folder / name).is_dir() for name, label in image_set.classes.items() if label)

    def read(self, *, videos: bool) -> list[FileRow]:  # noqa: ARG002  (all files are wanted)
        """List all files; those outside of the class folders have a reason."""
        labels = {name: int(label == "fake") for name, label in self.image_set.classes.items()}
        return [
            FileRow(
                path, name, labels.get(name), None if name else "outside of all class folders",
                medium="video" if is_video(path) else None, folder=name,
            )
            for path, name in find_files(self.folder, self.image_set.classes)
        ]  # fmt: skip

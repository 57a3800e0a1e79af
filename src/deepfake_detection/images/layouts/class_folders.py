"""A folder for each class, and the same inside a folder for each subset."""

from collections.abc import Iterator
from pathlib import Path

from natsort import natsorted, ns

from deepfake_detection.errors import UserError
from deepfake_detection.images.files import files_below, is_system_file, is_video
from deepfake_detection.images.layouts.base import SUBSET_NAMES, FileRow, Layout
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
        rows = [
            FileRow(
                path, name, labels.get(name), None if name else "outside of all class folders",
                medium="video" if is_video(path) else None, folder=name,
            )
            for path, name in find_files(self.folder, self.image_set.classes)
        ]  # fmt: skip
        return self.leave_out(rows, lambda row: row.class_name)


_LABELS = {
    **dict.fromkeys(("real", "reals", "original", "originals", "authentic", "pristine"), 0),
    **dict.fromkeys(
        ("fake", "fakes", "deepfake", "deepfakes", "forged", "generated", "manipulated",
         "synthetic"), 1,
    ),
}  # fmt: skip


class SubsetFolders(Layout):
    """A folder for each subset, with a folder for each class: `train/real`, `Test/Fake`.

    Folders are known by the parameter `layout_options.folder_names`, classes also by `classes`, and
    else by the usual names, in any case.
    """

    name = "subset_folders"

    @classmethod
    def recognises(cls, folder: Path, image_set: ImageSetParameters) -> bool:
        """Whether a folder of a subset holds a folder of a class."""
        layout = cls(folder, image_set)
        return any(
            layout._class_of(inside.name) is not None
            for path in _folders(folder)
            if layout._subset_of(path.name)
            for inside in _folders(path)
        )

    def read(self, *, videos: bool) -> list[FileRow]:  # noqa: ARG002  (all files are wanted)
        """List the files subset by subset; those outside of all class folders have a reason."""
        rows = [*self._read_loose(self.folder)]
        for path in _folders(self.folder):
            subset = self._subset_of(path.name)
            if subset is None:
                raise self._unknown(path, "train, validation or test")
            self.notes.append(f"{path.name}: {subset}")
            rows += self._read_loose(path)
            for inside in _folders(path):
                if self.image_set.classes.get(inside.name, "") is None:
                    self.notes.append(f"{path.name}/{inside.name}: left out, since classes says so")
                    continue
                found = self._class_of(inside.name)
                if found is None:
                    raise self._unknown(inside, "real or fake")
                rows += self._read_class(inside, *found, subset)
        if not any(row.label is not None for row in rows):
            raise UserError(
                f"{self.folder} holds no files in folders such as train/real and train/fake "
                "(parameter 'layout')"
            )
        return self.leave_out(rows, lambda row: row.class_name)

    def _read_class(self, path: Path, name: str, label: int, subset: str) -> list[FileRow]:
        inside = path.relative_to(self.folder).as_posix()
        files = [
            each.relative_to(self.folder)
            for each in files_below(path)
            if not is_system_file(each.relative_to(path))
        ]
        self.notes.append(f"{inside}: {name}, {'fake' if label else 'real'}, {len(files):,} files")
        return [
            FileRow(
                each, name, label, official_subset=subset, folder=inside,
                medium="video" if is_video(each) else None,
            )
            for each in natsorted(sorted(each.as_posix() for each in files), alg=ns.PATH)
        ]  # fmt: skip

    def _read_loose(self, folder: Path) -> Iterator[FileRow]:
        for path in sorted(folder.iterdir()):
            inside = path.relative_to(self.folder)
            if not path.is_dir() and not is_system_file(inside):
                yield FileRow(inside.as_posix(), reason="outside of all class folders")

    def _subset_of(self, name: str) -> str | None:
        given = self.options.folder_names.get(name)
        if given is not None:
            return given if given in SUBSET_NAMES else None
        return SUBSET_NAMES.get(name.lower())

    def _class_of(self, name: str) -> tuple[str, int] | None:
        given = self.options.folder_names.get(name) or self.image_set.classes.get(name)
        if given is not None:
            return (name, int(given == "fake")) if given in ("real", "fake") else None
        label = _LABELS.get(name.lower())
        return None if label is None else (name.lower(), label)

    def _unknown(self, path: Path, what: str) -> UserError:
        inside = path.relative_to(self.folder).as_posix()
        return UserError(
            f"folder '{inside}' in {self.folder} has no name that says what it holds: give it in "
            f"parameter 'layout_options.folder_names', as {{ {path.name}: … }}: {what}"
        )


def _folders(folder: Path) -> list[Path]:
    paths = (path for path in folder.iterdir() if path.is_dir())
    return natsorted(path for path in paths if not is_system_file(path.relative_to(folder)))

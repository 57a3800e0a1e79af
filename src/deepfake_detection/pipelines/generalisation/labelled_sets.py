"""Labelled sets from elsewhere, indexed for a detector: pictures as they are, or faces cut out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.images.equalising import copy_equalised
from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import (
    EqualiseParameters,
    FaceExtractionParameters,
    LabelledSetParameters,
)
from deepfake_detection.pipelines.data_preparation.nodes import (
    index_images,
    list_rejected_images,
    scan_faces,
    scan_images,
)
from deepfake_detection.pipelines.face_extraction.nodes import extract_faces


# tables have no equality
@dataclass(frozen=True, eq=False)
class IndexedSet:
    """A set that can be scored, and what was lost of it.

    Attributes:
        folder: Of the images that `index` names; columns as in the image index.
        lost: A row for each file or frame that is not used: path, frame (NA for the whole file),
            reason.
    """

    folder: Path
    index: pd.DataFrame
    lost: pd.DataFrame


@dataclass
class SetReader:
    """Indexes each set once for each way of cutting faces.

    Attributes:
        parent: The folder to which paths of sets are relative.
        folders: Of sets without a path, by `set:NAME`.
        crops: The folder of all crops that are cut.
        settings: How faces are found and cut where a detector does not tell.
    """

    parent: Path
    folders: Mapping[str, Path]
    crops: Path
    settings: FaceExtractionParameters
    _read: dict[tuple[str, str], IndexedSet | UserError] = field(default_factory=dict)

    def read(self, name: str, labelled: LabelledSetParameters, detector: Detector) -> IndexedSet:
        """Index a set for a detector.

        Raises:
            UserError: If it is not there, or not as its parameters say.
        """
        settings = self._settings_for(detector)
        alike = labelled.equalise or _equalised_for(detector)
        labelled = labelled.model_copy(update={"equalise": alike})
        made_by = settings if labelled.faces == "find" else alike
        key = (name, made_by.model_dump_json() if made_by else "")
        if key not in self._read:
            try:
                self._read[key] = self._index(name, labelled, settings)
            except UserError as error:
                self._read[key] = error
        found = self._read[key]
        if isinstance(found, UserError):
            raise found
        return found

    def _settings_for(self, detector: Detector) -> FaceExtractionParameters:
        """Those of `face_extraction`, with the detector's own recipe if it is known."""
        if detector.crop_recipe is None:
            return self.settings
        recipe = detector.crop_recipe.model_dump(exclude={"weights_sha256"})
        return FaceExtractionParameters.model_validate(self.settings.model_dump() | recipe)

    def _index(
        self, name: str, labelled: LabelledSetParameters, settings: FaceExtractionParameters
    ) -> IndexedSet:
        path = labelled.path
        folder = self.parent / path if path else self.folders[name_folder(name)]
        if not folder.exists():
            raise UserError(f"there is no {folder}")
        if labelled.faces == "find":
            if labelled.equalise:
                raise UserError("equalised copies are made of pictures, not of faces that are cut")
            faces, lost = extract_faces(folder, self.crops, settings, labelled)
            lost = lost.rename(columns={"file": "path"})[["path", "frame", "reason"]]
            scanned, folder = scan_faces(self.crops, faces, labelled), self.crops
        else:
            if alike := labelled.equalise:
                folder = copy_equalised(
                    folder, self.crops / "equalised", alike, labelled.max_pixels
                )
            scanned = scan_images(folder, labelled, settings)
            lost = pd.DataFrame(columns=["path", "frame", "reason"])
        rejected = list_rejected_images(scanned)
        index = index_images(scanned, rejected, labelled)
        if index["label"].nunique() < 2:
            raise UserError(f"{folder} holds images of one class only")
        rejected.insert(1, "frame", None)
        return IndexedSet(folder, index, pd.concat([lost, rejected], ignore_index=True))


def _equalised_for(detector: Detector) -> EqualiseParameters | None:
    """How the images that a detector was trained on were equalised; None: they were not."""
    settings = (detector.card.settings.get("data_preparation") or {}).get("equalise")
    return settings and EqualiseParameters.model_validate(settings)


def name_folder(name: str) -> str:
    """The argument that holds the folder of a set."""
    return f"set:{name}"


def count_lost(lost: pd.DataFrame) -> Iterator[tuple[str, int, int]]:
    """Each reason, the files that were lost for it, and the single frames: the most first."""
    for reason, rows in sorted(lost.groupby("reason"), key=lambda each: -len(each[1])):
        whole = int(rows["frame"].isna().sum())
        yield str(reason), whole, len(rows) - whole

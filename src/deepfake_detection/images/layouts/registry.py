"""The layouts by name, in the order in which `auto` tries them."""

from deepfake_detection.images.layouts.base import Layout
from deepfake_detection.images.layouts.celeb_df import CelebDf
from deepfake_detection.images.layouts.class_folders import ClassFolders, SubsetFolders
from deepfake_detection.images.layouts.deeperforensics import DeeperForensics
from deepfake_detection.images.layouts.dfdc import Dfdc
from deepfake_detection.images.layouts.faceforensics import (
    FaceForensics,
    FaceForensicsAndDfd,
    FaceForensicsDfd,
)
from deepfake_detection.images.layouts.table import Table
from deepfake_detection.images.layouts.unlabelled import Unlabelled
from deepfake_detection.images.layouts.wilddeepfake import WildDeepfake

_LAYOUTS: tuple[type[Layout], ...] = (
    ClassFolders,
    FaceForensics,
    FaceForensicsDfd,
    FaceForensicsAndDfd,
    CelebDf,
    DeeperForensics,
    WildDeepfake,
    Dfdc,
    SubsetFolders,
    Table,
    Unlabelled,
)
LAYOUTS = {layout.name: layout for layout in _LAYOUTS}

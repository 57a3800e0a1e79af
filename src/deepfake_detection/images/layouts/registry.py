"""The layouts by name, in the order in which `auto` tries them."""

from deepfake_detection.images.layouts.base import Layout
from deepfake_detection.images.layouts.class_folders import ClassFolders

LAYOUTS: dict[str, type[Layout]] = {layout.name: layout for layout in (ClassFolders,)}

"""Sources of images, and groups of sources that belong together."""

import logging
import re

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import GroupRule, ImageSetParameters, SourceRule

log = logging.getLogger(__name__)

_NUMBERED = re.compile(r"^(.*?)(\d+)(?:\.[^./]*)?$")


def name_sources(
    paths: pd.Series,
    class_names: pd.Series,
    readable: pd.Series,
    source: SourceRule,
    folders: pd.Series | None = None,
) -> pd.Series:
    """Name the source of each image: its class, and a number or matched name within it.

    Args:
        paths: Of all files, relative to the image folder, in natural order within a class. An
            unreadable file keeps its place, so that the files behind it are not shifted.
        class_names: The class folder of each; empty for none.
        readable: Which of them are images; the others need not fit the rule.
        source: The rule.
        folders: The class folder of each, where it is not called as the class: `train/real`.
            Numbers are counted in each such folder, and names begin with what is above it; a
            pattern matches the path inside it.

    Returns:
        Such as `real/17`. None for an unreadable file; the rule `consecutive` gives it a source
        where its position is known. The class is part of the name, since fakes of several kinds,
        made from one video, often carry the same names.

    Raises:
        UserError: If the pattern does not match a file's path.
    """
    folders = class_names if folders is None else folders
    inside = _inside(paths, folders)
    above = [
        f"{folder.rpartition('/')[0]}/" if "/" in folder and folder != name else ""
        for folder, name in zip(folders, class_names, strict=True)
    ]
    sections = pd.Series(above, index=paths.index, dtype=object)
    keys = pd.Series(None, index=paths.index, dtype=object)
    if source.rule == "pattern":
        assert source.pattern is not None  # noqa: S101  (checked by SourceRule)
        keys[readable] = _match(inside[readable], source.pattern, "source.pattern")
    elif source.rule == "image":
        keys[readable] = (sections + inside)[readable]
    else:
        for (class_name, section), names in inside.groupby([class_names, sections], sort=False):
            deeper = names.str.rpartition("/")[0] + "/"
            restarts = _numbers_restart(names[readable[names.index]], deeper)
            if restarts:
                log.warning(
                    "Numbers start again in each folder of '%s': sources end there", class_name
                )
            for folder, inside_folder in names.groupby(deeper if restarts else lambda _: ""):
                positions = _positions(list(inside_folder), list(readable[inside_folder.index]))
                keys[inside_folder.index] = [
                    None if position is None else f"{section}{folder}{position // source.size}"
                    for position in positions
                ]
    placed = keys.notna()
    keys[placed] = [
        f"{name}/{key}" if name else key
        for name, key in zip(class_names[placed], keys[placed], strict=True)
    ]
    return keys


def _inside(paths: pd.Series, class_names: pd.Series) -> pd.Series:
    """Paths inside the class folder."""
    pairs = zip(paths, class_names, strict=True)
    inside = [path[len(name) + 1 :] if name else path for path, name in pairs]
    return pd.Series(inside, index=paths.index, dtype=object)


def _numbers_restart(images: pd.Series, folders: pd.Series) -> bool:
    """Whether images in different folders carry the same number."""
    numbers = images.str.extract(_NUMBERED)[1].dropna().map(int)
    pairs = pd.DataFrame({"number": numbers, "folder": folders[numbers.index]})
    return bool(pairs.drop_duplicates()["number"].duplicated().any())


def _positions(names: list[str], readable: list[bool]) -> list[int | None]:
    """Positions by the numbers in the names, so that gaps count; else in the order of names."""
    matches = [_NUMBERED.match(name) for name in names]
    images = [match for match, is_image in zip(matches, readable, strict=True) if is_image]
    prefixes = {match.group(1) if match else None for match in images}
    numbers = [int(match.group(2)) for match in images if match]
    if None in prefixes or len(prefixes) != 1 or len(set(numbers)) < len(numbers):
        return list(range(len(names)))
    alike = [match if match and match.group(1) in prefixes else None for match in matches]
    first = min(int(match.group(2)) for match in alike if match)
    return [int(match.group(2)) - first if match else None for match in alike]


def name_groups(
    paths: pd.Series,
    sources: pd.Series,
    sha256s: pd.Series,
    class_names: pd.Series,
    group: GroupRule,
    folders: pd.Series | None = None,
    named: pd.Series | None = None,
) -> pd.Series:
    """Name the group of each image: what a grouped split keeps in one subset.

    Groups that contain the same file become one. `named` holds the groups that a layout names, None
    where the rule does. Other arguments are as in `name_sources`, which gave `sources`.

    Raises:
        UserError: If the pattern does not match a file's path.
    """
    groups = named.copy() if named is not None else pd.Series(None, paths.index, dtype=object)
    left = groups.isna()
    if group.rule == "source":
        groups[left] = sources[left]
    elif group.rule == "same_number":
        groups[left] = _inside(sources[left], class_names[left])
    else:
        assert group.pattern is not None  # noqa: S101  (checked by GroupRule)
        inside = _inside(paths, class_names if folders is None else folders)
        groups[left] = _match(inside[left], group.pattern, "group.pattern")
    return join_over_identical(groups, sha256s)


def _match(names: pd.Series, pattern: str, parameter: str) -> pd.Series:
    """The text that the first group of a pattern matches in each name."""
    matched = names.str.extract(pattern).iloc[:, 0]
    missed = names[matched.fillna("") == ""]
    if len(missed):
        raise UserError(
            f"parameter '{parameter}': {pattern!r} does not match '{missed.iloc[0]}', or its "
            f"first group is empty ({len(missed)} such files). The pattern is applied to the path "
            "inside the class folder."
        )
    return matched


def group_faces(faces: pd.DataFrame, image_set: ImageSetParameters) -> pd.DataFrame:
    """Faces with the groups of the rule `group`, where the layout gives none (`group_rule`).

    Columns used: file, source, file_sha256, class_name, folder, group, group_rule.
    """
    by_rule = faces["group_rule"].astype(bool)
    rest = faces[by_rule]
    if rest.empty:
        return faces
    groups = name_groups(
        rest["file"], rest["source"], rest["file_sha256"], rest["class_name"], image_set.group,
        rest["folder"],
    )  # fmt: skip
    return faces.assign(group=faces["group"].astype(object).where(~by_rule, groups))


def join_over_identical(groups: pd.Series, sha256s: pd.Series) -> pd.Series:
    """Give groups that hold the same file one name, that of the first of them."""
    if not sha256s.duplicated().any():
        return groups
    group_of, names = pd.factorize(groups)
    file_of, files = pd.factorize(sha256s)
    size = len(names) + len(files)
    links = coo_matrix((np.ones(len(groups)), (group_of, len(names) + file_of)), shape=(size, size))
    _, component = connected_components(links, directed=False)
    joined = pd.Series(names).groupby(component[: len(names)]).transform("first")
    return pd.Series(joined.to_numpy()[group_of], index=groups.index)

"""What the layouts of published data sets share: each names a file by its path alone."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from natsort import natsorted, ns

from deepfake_detection.errors import UserError
from deepfake_detection.images.files import files_below, is_system_file, is_video
from deepfake_detection.images.layouts.base import FileRow, Layout
from deepfake_detection.images.layouts.related import join_related

# Lists, tables, archives and what other programs leave beside a data set's files
_SIDE_FILES = frozenset(
    {
        ".csv", ".gz", ".h5", ".html", ".json", ".md", ".npy", ".npz", ".parquet", ".pdf", ".pkl",
        ".py", ".rar", ".sh", ".tar", ".tsv", ".txt", ".xml", ".yaml", ".yml", ".zip",
    }
)  # fmt: skip
# Folders between a class and its videos, by what they hold; of pictures, the first is taken
CROPS = ("faces", "crops", "images", "frames")
MEDIA_FOLDERS = frozenset({"videos", *CROPS})
SIDE_FOLDERS = frozenset({"landmarks", "mask", "masks", "models"})

# A group that holds more than this share of all videos leaves a grouped split no choice
_CHAIN = 0.5


@dataclass(frozen=True)
class Taken:
    """What the path of a file says."""

    class_name: str
    label: int  # 1 fake, 0 real
    video: str  # its name, which no other of the class has
    # videos or persons that it shows: files that share one are of one group
    related: tuple[str, ...]
    place: PurePosixPath  # the folder of the class's videos
    subset: str | None = None
    compression: str = ""


@dataclass(frozen=True)
class PassedOver:
    """A file that is no image or video of the data set, or not of the part that is read."""

    what: str


class DataSetLayout(Layout):
    """The layout of a published data set: `describe` reads a path, the rest is the same for all."""

    title: ClassVar[str]  # the data set's name
    published: Mapping[str, int] = {}  # videos by class
    related_to: ClassVar[str] = "videos"  # what `Taken.related` names

    @abstractmethod
    def describe(self, path: PurePosixPath) -> Taken | PassedOver | str:
        """What the path of a file, relative to the folder, says; else why it is not used."""

    def select(self, taken: list[tuple[str, Taken]]) -> list[tuple[str, Taken]]:
        """Which of the files are read; for what the parameters choose from."""
        return taken

    @abstractmethod
    def compare(self, videos: Mapping[tuple[str, str], Taken]) -> None:
        """Add notes on what is there of the data set, by class and video."""

    def read(self, *, videos: bool) -> list[FileRow]:
        """List the files in natural order; those that are passed over are counted in `notes`."""
        taken: list[tuple[str, Taken]] = []
        rejected: dict[str, str] = {}
        self.passed: Counter[str] = Counter()
        for path in list_files(self.folder, self.passed):
            found = self.describe(PurePosixPath(path))
            if isinstance(found, Taken):
                taken.append((path, found))
            elif isinstance(found, PassedOver):
                self.passed[found.what] += 1
            else:
                rejected[path] = found
        if not taken:
            first = next((f": {path} ({why})" for path, why in rejected.items()), "")
            raise UserError(
                f"{self.folder} holds no file of {self.title}{first}. docs/data.md describes the "
                f"layout {self.name}"
            )
        taken = self.leave_out(self.select(taken), lambda each: each[1].class_name, self.published)
        taken = self._choose_media(taken, videos=videos)
        groups = join_related([each.related for _, each in taken])
        by_video = {(each.class_name, each.video): each for _, each in taken}
        self._note_places(taken)
        self.compare(by_video)
        self._note_groups(taken, groups)
        self.note_passed(self.passed)
        rows = [
            FileRow(
                path, each.class_name, each.label, None, f"{each.class_name}/{each.video}", group,
                each.subset, "video", each.class_name,
            )
            for (path, each), group in zip(taken, groups, strict=True)
        ]  # fmt: skip
        return [*rows, *(FileRow(path, reason=reason) for path, reason in rejected.items())]

    def _choose_media(
        self, taken: list[tuple[str, Taken]], *, videos: bool
    ) -> list[tuple[str, Taken]]:
        """Keep videos or pictures, and pictures of one kind of each class."""
        kept = []
        filmed = {(each.class_name, each.video) for path, each in taken if is_video(path)}
        kinds: dict[str, set[str]] = {}
        for path, each in taken:
            if not is_video(path) and each.place.name.lower() in CROPS:
                kinds.setdefault(each.class_name, set()).add(each.place.name.lower())
        best = {name: min(found, key=CROPS.index) for name, found in kinds.items()}
        for path, each in taken:
            kind = each.place.name.lower()
            if is_video(path):
                if not videos:
                    self.passed["videos (kedro run --pipelines face_extraction reads them)"] += 1
                    continue
            elif videos and (each.class_name, each.video) in filmed:
                self.passed["pictures of videos that are there themselves"] += 1
                continue
            elif kind in CROPS and kind != best[each.class_name]:
                self.passed[f"pictures in folders '{kind}', beside '{best[each.class_name]}'"] += 1
                continue
            kept.append((path, each))
        if not kept:
            raise UserError(
                f"{self.folder} holds videos of {self.title}, and no pictures. Make crops of faces "
                f"first: kedro run --pipelines face_extraction --params videos={self.folder}"
            )
        return kept

    def _note_places(self, taken: list[tuple[str, Taken]]) -> None:
        places: dict[tuple[str, int], dict[str, None]] = {}
        for _, each in taken:
            places.setdefault((each.class_name, each.label), {})[str(each.place)] = None
        for (name, label), found in places.items():
            more = f" and {len(found) - 2} more folders" if len(found) > 2 else ""
            said = ", ".join([*found][:2]) + more
            self.notes.append(f"{said}: class {name}, {'fake' if label else 'real'}")

    def compare_counts(self, videos: Iterable[tuple[str, str]]) -> None:
        """Note how many videos of each class there are, beside the published numbers."""
        counts = Counter(name for name, _ in videos)
        said = [
            f"{count:,} of {self.published[name]:,} {name}"
            if name in self.published
            else f"{count:,} {name}"
            for name, count in counts.items()
        ]
        self.notes.append(f"{self.title}: {', '.join(said)} videos")
        less = [name for name in self.published if 0 < counts[name] < self.published[name]]
        lacking = [name for name in self.published if name not in counts]
        if less or lacking:
            missing = f"; nothing of {', '.join(lacking)}" if lacking else ""
            self.notes.append(f"This is a part of {self.title}{missing}")

    def compare_lists(
        self, listed: Mapping[str, str], there: Iterable[str], where: str, what: str = "videos"
    ) -> None:
        """Note which videos of official lists are missing, and which are in none.

        Args:
            listed: Subsets by video.
            there: The videos that are there.
            where: What the lists are called.
            what: What they list.
        """
        found = set(there)
        missing = natsorted(listed.keys() - found)
        extra = natsorted(found - listed.keys())
        sizes = Counter(listed[name] for name in found if name in listed)
        said = ", ".join(f"{sizes[name]} {name}" for name in ("train", "validation", "test"))
        self.notes.append(f"Official subsets ({where}): {said} {what}")
        if missing:
            self.notes.append(
                f"Listed {what} that are not here ({len(missing)}): {_first(missing)}"
            )
        if extra:
            self.notes.append(
                f"In no official list, and without an official subset ({len(extra)} {what}): "
                f"{_first(extra)}"
            )

    def _note_groups(self, taken: list[tuple[str, Taken]], groups: list[str]) -> None:
        group_of = {
            (each.class_name, each.video): (group, each.subset)
            for (_, each), group in zip(taken, groups, strict=True)
        }
        sizes = Counter(group for group, _ in group_of.values())
        self.notes.append(
            f"Sources are videos, and groups are videos that share {self.related_to}: "
            f"{len(sizes):,} groups of {len(group_of):,} videos. The rules source and group are "
            "not used"
        )
        group, size = sizes.most_common(1)[0]
        if len(group_of) > 2 and size > _CHAIN * len(group_of):
            self.notes.append(
                f"A chain of videos that share {self.related_to} joins {size:,} of "
                f"{len(group_of):,} into one group ({group}): a grouped split cannot divide them"
            )
        subsets: dict[str, set[str]] = {}
        for name, subset in group_of.values():
            if subset is not None:
                subsets.setdefault(name, set()).add(subset)
        shared = [name for name, found in subsets.items() if len(found) > 1]
        if shared:
            self.notes.append(
                f"The official split puts {len(shared)} of {len(subsets)} groups into two subsets, "
                f"such as {shared[0]}: videos that share {self.related_to} are trained on and "
                "scored. split.method=official needs split.allow_shared_groups=true"
            )


def list_files(folder: Path, passed: Counter[str]) -> list[str]:
    """Paths of all files in natural order; system and side files are counted, not listed."""
    found = []
    for path in files_below(folder):
        inside = path.relative_to(folder)
        if is_system_file(inside):
            passed["system files"] += 1
        elif (suffix := inside.suffix.lower()) in _SIDE_FILES:
            passed[f"{suffix} files"] += 1
        else:
            found.append(inside.as_posix())
    return natsorted(sorted(found), alg=ns.PATH)


def video_name(parts: tuple[str, ...]) -> str | None:
    """The name of a video, of the parts of a path below the folder of videos.

    A file `000.mp4` and a frame `000/0001.png` (also `000.mp4/0001.png`) are of the video `000`.
    """
    if not parts:
        return None
    first = PurePosixPath(parts[0])
    return first.stem if len(parts) == 1 or is_video(first.name) else first.name


def below_media_folder(parts: tuple[str, ...]) -> tuple[str, ...]:
    """A path below a class, without a first folder such as `videos`."""
    return parts[1:] if len(parts) > 1 and parts[0].lower() in MEDIA_FOLDERS else parts


def read_text(path: Path) -> str:
    """The text of an official list, whatever its byte-order mark and line ends.

    Raises:
        UserError: If it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text in UTF-8") from None


def find_lists(layout: Layout, names: Iterable[str], places: Iterable[str]) -> dict[str, Path]:
    """Official lists by name: in `layout_options.lists`, else in these places of the folder.

    Raises:
        UserError: If `layout_options.lists` is given and has none of them.
    """
    found = {}
    given = layout.options.lists
    for name in names:
        if given is None:
            paths = [layout.folder / place / name for place in places]
        else:
            paths = [Path(given) / name, Path(given).parent / name]
        if path := next((path for path in paths if path.is_file()), None):
            found[name] = path
    if given is not None and not found:
        raise UserError(f"parameter 'layout_options.lists': {given} has none of {', '.join(names)}")
    if missing := [name for name in names if name not in found] if found else []:
        layout.notes.append(f"Official lists that are missing: {', '.join(missing)}")
    return found


def _first(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

"""Which caption file belongs to which video or image.

A sidecar has the name of its file with another suffix: `c.txt` or `c.mp4.txt` for `c.mp4`. It is
matched by its path first. In a folder of sidecars, `a/c.txt` belongs to every `.../a/c.mp4`, and a
bare `c.txt` to `c.mp4` only while one file and one sidecar have this name. Names are compared as
they are, then in Unicode's composed form, since macOS writes decomposed ones.
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from wanctl.errors import UserError
from wanctl.textfiles import printable

SUFFIXES = (".json", ".txt")
"""Endings of sidecars in the order in which they are read; case does not matter."""
_SHOWN = 3

_Key = tuple[str, ...]
"""Folders below the root, then the name without the sidecar's suffix."""


class SidecarError(UserError):
    """A caption file that fits several videos, or several that fit one."""


@dataclass(frozen=True)
class SidecarMatches:
    """The sidecars of some files.

    Attributes:
        files: file -> its sidecars, the first of them with a caption counts.
        unused: sidecars that belong to no file.
        shared: sidecars of several files that differ in their suffix alone.
    """

    files: Mapping[PurePath, Sequence[Path]]
    unused: Sequence[Path] = ()
    shared: Mapping[Path, Sequence[PurePath]] = field(default_factory=dict)


def match_beside(media: Iterable[PurePath], suffixes: Sequence[str] = SUFFIXES) -> SidecarMatches:
    """Match files with the sidecars in their own folders.

    Args:
        media: the files, by absolute path or relative to the working folder.
        suffixes: endings of sidecars, in the order in which they count.
    """
    files: dict[PurePath, Sequence[Path]] = {}
    folders: dict[PurePath, _Tree] = {}
    for each in media:
        if each.parent not in folders:
            folders[each.parent] = _Tree(Path(each.parent), suffixes, recursive=False)
        files[each] = folders[each.parent].find((), each)
    return _matches(files, [path for tree in folders.values() for path in tree.paths()])


def match_in(
    folder: Path, media: Iterable[PurePath], suffixes: Sequence[str] = SUFFIXES
) -> SidecarMatches:
    """Match files with the sidecars in a folder and the folders below it.

    Args:
        folder: holds the sidecars, flat or in the same folders as the files.
        media: all files of a data set.
        suffixes: endings of sidecars, in the order in which they count.

    Raises:
        SidecarError: a sidecar fits several files by its name alone, or several fit one.
    """
    tree = _Tree(folder, suffixes, recursive=True)
    files: dict[PurePath, Sequence[Path]] = {}
    media = list(dict.fromkeys(media))
    flat = len({each.parent for each in media}) == 1
    for each in media:
        parts = [part for part in each.parent.parts if part != each.anchor]
        ends = [tuple(parts[start:]) for start in range(len(parts))]
        found = (tree.find(end, each) for end in ([*ends, ()] if flat else ends))
        files[each] = next((match for match in found if match), ())
    _refuse(_shared_by_folders(files), folder)
    _refuse(_match_by_name(tree, files), folder)
    return _matches(files, tree.paths())


class _Tree:
    """The sidecars below a folder, by the folders above them and their name."""

    def __init__(self, root: Path, suffixes: Sequence[str], *, recursive: bool) -> None:
        self._suffixes = suffixes
        self._exact: dict[_Key, dict[str, Path]] = defaultdict(dict)
        self._composed: dict[_Key, set[_Key]] = defaultdict(set)
        self._unreachable: list[Path] = []
        for path in _walk(root, recursive=recursive):
            suffix = next((s for s in suffixes if path.name.lower().endswith(s.lower())), None)
            if suffix is None:
                continue
            below = path.relative_to(root).parent.parts
            key = (*below, path.name[: len(path.name) - len(suffix)])
            known = self._exact[key].get(suffix)
            if known is None or path.name.endswith(suffix):
                self._exact[key][suffix] = path
            if known is not None:  # c.txt and c.TXT
                self._unreachable.append(known if path.name.endswith(suffix) else path)
            self._composed[_composed(key)].add(key)

    def find(self, folder: _Key, media: PurePath) -> list[Path]:
        """Sidecars of a file in one folder, by its full name first."""
        return [
            files[suffix]
            for name in dict.fromkeys((media.name, media.stem))
            for files in [self._at((*folder, name))]
            for suffix in self._suffixes
            if suffix in files
        ]

    def by_name(self) -> dict[str, list[_Key]]:
        """Composed name -> the keys that have it, in any folder."""
        names: dict[str, list[_Key]] = defaultdict(list)
        for key in self._exact:
            names[_composed(key)[-1]].append(key)
        return names

    def files(self, key: _Key) -> list[Path]:
        """The sidecars of one key, in the order in which they count."""
        return [self._exact[key][suffix] for suffix in self._suffixes if suffix in self._exact[key]]

    def paths(self) -> list[Path]:
        """All sidecars."""
        known = [path for files in self._exact.values() for path in files.values()]
        return sorted([*known, *self._unreachable])

    def _at(self, key: _Key) -> Mapping[str, Path]:
        if key in self._exact:
            return self._exact[key]
        same = self._composed.get(_composed(key), set())
        return self._exact[next(iter(same))] if len(same) == 1 else {}


def _walk(root: Path, *, recursive: bool) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(root, followlinks=True):
        info = Path(folder).stat()
        if (info.st_dev, info.st_ino) in seen:
            below.clear()
            continue
        seen.add((info.st_dev, info.st_ino))
        below[:] = sorted(name for name in below if not name.startswith(".")) if recursive else []
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(folder, name)


def _composed(key: _Key) -> _Key:
    return tuple(unicodedata.normalize("NFC", part) for part in key)


def _match_by_name(tree: _Tree, files: dict[PurePath, Sequence[Path]]) -> list[str]:
    """Match the files that have no sidecar yet by name alone; returns what is ambiguous."""
    claimed = {path for found in files.values() for path in found}
    same: dict[str, list[PurePath]] = defaultdict(list)
    for each in files:
        same[_composed((each.stem,))[0]].append(each)
    named = tree.by_name()
    problems = []
    for stem, media in same.items():
        names = {stem, *(_composed((each.name,))[0] for each in media)}
        keys = [key for name in sorted(names) for key in named.get(name, ())]
        free = [key for key in keys if not claimed & set(tree.files(key))]
        missing = [each for each in media if not files[each]]
        if not free or not missing:
            continue
        if len({each.parent for each in media}) > 1:
            problems.append(f"{_name(tree.files(free[0])[0])} fits {_list(media)}")
        elif len({key[:-1] for key in free}) > 1:
            fitting = [path for key in free for path in tree.files(key)[:1]]
            problems.append(f"{_list(fitting)} fit {_name(missing[0])}")
        else:
            folder = free[0][:-1]
            for each in missing:
                files[each] = tree.find(folder, each)
    return problems


def _shared_by_folders(files: Mapping[PurePath, Sequence[Path]]) -> list[str]:
    """Sidecars that belong to files of several folders, such as x/a/c.mp4 and y/a/c.mp4."""
    users: dict[Path, list[PurePath]] = defaultdict(list)
    for each, found in files.items():
        for path in found[:1]:
            users[path].append(each)
    return [
        f"{_name(path)} fits {_list(media)}"
        for path, media in users.items()
        if len({each.parent for each in media}) > 1
    ]


def _refuse(problems: Sequence[str], folder: Path) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise SidecarError(
            f"{_name(folder)}: {problems[0]}{more}; put each caption file into a folder named "
            "as its video's, e.g. a/c.txt for a/c.mp4"
        )


def _matches(files: Mapping[PurePath, Sequence[Path]], sidecars: Iterable[Path]) -> SidecarMatches:
    users: dict[Path, list[PurePath]] = defaultdict(list)
    for each, found in files.items():
        for path in found:
            users[path].append(each)
    return SidecarMatches(
        files=files,
        unused=[path for path in sidecars if path not in users],
        shared={path: media for path, media in users.items() if len(media) > 1},
    )


def _list(paths: Sequence[PurePath]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(map(_name, paths[:_SHOWN])) + more


def _name(path: PurePath) -> str:
    return printable(str(path))

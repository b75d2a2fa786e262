"""Captions of clips from the text files that belong to their footage.

NAME.txt holds one caption. NAME.json holds `{"caption": "..."}` or
`{"captions": {"long": "...", "short": "..."}}`; `{"shots": {"0": ...}}` holds captions of single
shots, each in one of these forms or as plain text, and `{"cues": [...]}` captions of stretches of
time (wanctl/data/sidecars/cues.py). The most particular counts: cue, shot, whole file. A .json
without a caption, such as the facts of a download, does not hide the .txt of the same name.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from wanctl.data.sidecars.cues import best_cue, cues_in
from wanctl.data.sidecars.match import SidecarMatches, match_beside, match_in
from wanctl.data.sidecars.texts import CaptionText, captions_in, read_sidecar
from wanctl.log import log
from wanctl.textfiles import RepeatedKeys, TextError, printable
from wanctl.video.sources import disk_path, url_of

_SHOWN = 3


class SidecarReader:
    """Reads the sidecars of a data set's sources, next to them or in one folder.

    Args:
        folder: holds the sidecars of all sources; None: each lies next to its source.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: Mapping[PurePath, Sequence[Path]] = {}
        self._contents: dict[Path, Any] = {}
        self._warned: set[tuple[Path, str]] = set()
        self._unused_cues: dict[Path, set[int]] = {}

    def match(self, sources: Iterable[str | Path]) -> None:
        """Find the sidecars of all sources, and log what is unused or used by several.

        Raises:
            SidecarError: a sidecar fits sources of several folders, or several fit one.
        """
        media = list(dict.fromkeys(map(_media_path, sources)))
        found = match_in(self._folder, media) if self._folder else match_beside(media)
        self._files, self._contents, self._unused_cues = found.files, {}, {}
        _log_matches(found)

    def captions(self, source: Path, shot: int, start_s: float, end_s: float) -> list[CaptionText]:
        """The captions of one clip: those of its first sidecar that has any.

        Args:
            source: the footage.
            shot: number of the shot in it, from 0.
            start_s: where in the footage the clip begins.
            end_s: where it ends.
        """
        media = _media_path(source)
        if media not in self._files:
            self.match([source])
        for path in self._files[media]:
            if path not in self._contents:
                self._contents[path] = self._read(path, len(self._files[media]))
            content = self._contents[path]
            own = self._of_cue(path, content, start_s, end_s) or _captions_of(content, shot)
            if own:
                return own
        return []

    def log_unused_cues(self) -> None:
        """Log how many cues of the files read so far were the caption of no clip."""
        unused = {path: cues for path, cues in self._unused_cues.items() if cues}
        if unused:
            log.warning(
                "%d timed captions are of no kept clip and not used, in %s",
                sum(map(len, unused.values())), _some(list(unused)),
            )  # fmt: skip

    def forget(self) -> None:
        """Drop the contents of the files read so far."""
        self._contents.clear()

    def _of_cue(self, path: Path, content: Any, start_s: float, end_s: float) -> list[CaptionText]:
        cues, _ = cues_in(content.get("cues")) if isinstance(content, dict) else ([], [])
        unused = self._unused_cues.setdefault(path, set(range(len(cues))))
        best = best_cue(cues, start_s, end_s)
        if best is None:
            return []
        unused.discard(best)
        return list(cues[best].captions)

    def _read(self, path: Path, num_files: int) -> Any:
        """The content of a sidecar; None, with a warning, where it holds no captions."""
        try:
            content = read_sidecar(path)
        except (TextError, FileNotFoundError) as error:
            self._warn(path, f"not used as a caption: {_without(str(error), path)}")
            return None
        if isinstance(content, str) and path.suffix.lower() == ".json":
            content = {"caption": content}
        for problem in _problems(content):
            self._warn(path, problem)
        if num_files == 1 and not isinstance(content, str) and not _has_captions(content):
            need = '{"caption": "..."}, {"captions": {...}} or {"cues": [...]}'
            self._warn(path, f"holds no caption; need {need}")
        return content

    def _warn(self, path: Path, problem: str) -> None:
        """Warn once in a run, though a file is read again for every batch."""
        if (path, problem) not in self._warned:
            self._warned.add((path, problem))
            log.warning("%s: %s", printable(str(path)), problem)


def _captions_of(content: Any, shot: int) -> list[CaptionText]:
    if isinstance(content, str):
        return [CaptionText(content)]
    if not isinstance(content, dict):
        return []
    shots = content.get("shots")
    if isinstance(shots, dict) and (own := _captions_of(shots.get(str(shot)), shot)):
        return own
    return [each for value in _values(content) for each in captions_in(value).captions]


def _values(content: Mapping[str, Any]) -> list[Any]:
    """The two values of a sidecar that hold captions of the whole file."""
    return [content.get("caption"), content.get("captions")]


def _problems(content: Any) -> list[str]:
    """What a sidecar holds in the place of captions."""
    if not isinstance(content, dict):
        return []
    repeated = content.repeated if isinstance(content, RepeatedKeys) else []
    problems = [f"the key {key!r} comes twice, the last one counts" for key in repeated]
    problems += cues_in(content.get("cues"))[1]
    return problems + [
        f"not used as a caption: {problem}"
        for value in _values(content)
        for problem in captions_in(value).problems
    ]


def _has_captions(content: Any) -> bool:
    if not isinstance(content, dict):
        return False
    shots = content.get("shots")
    inside = shots.values() if isinstance(shots, dict) else ()
    if cues_in(content.get("cues"))[0]:
        return True
    return any(captions_in(value).captions for value in _values(content)) or any(
        isinstance(value, str) or _has_captions(value) for value in inside
    )


def _media_path(source: str | Path) -> PurePath:
    """The path of a source; for a URL its path on the server, without a query."""
    url = url_of(source)
    if url is None:
        return PurePath(disk_path(source))
    return PurePosixPath(url.partition("?")[0].partition("#")[0])


def _log_matches(found: SidecarMatches) -> None:
    if found.unused:
        log.warning(
            "%d caption files belong to no video of the data set and are not used: %s",
            len(found.unused), _some(found.unused),
        )  # fmt: skip
    for path, media in list(found.shared.items())[:_SHOWN]:
        log.warning(
            "%s: is the caption of %d files, %s; NAME.SUFFIX.txt is of one alone",
            path, len(media), _some(media),
        )  # fmt: skip


def _some(paths: Sequence[PurePath]) -> str:
    more = ", ..." if len(paths) > _SHOWN else ""
    return ", ".join(printable(str(path)) for path in paths[:_SHOWN]) + more


def _without(message: str, path: Path) -> str:
    return message.removeprefix(f"{printable(str(path))}: ")

"""Which clips are held out of training: whole files of footage where there are enough of them.

Clips of one file resemble each other, so a held-out clip beside training clips of its own footage
measures memory as well. The choice is a hash of the footage's content, or of the clip's id: it is
the same for every run, and stays when the set grows.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wanctl.data.batches.groups import joined_groups

MIN_SOURCES = 10
"""Fewer files of footage are too few to hold out whole ones by default."""
COPIES = "duplicates"
"""The filter whose label names the group of copies of a clip."""


@dataclass(frozen=True)
class HoldOut:
    """The choice of the clips that are held out.

    Attributes:
        flags: for each clip, whether it is held out.
        text: what was chosen, and how, for the log; empty where nothing is held out.
    """

    flags: Sequence[bool]
    text: str


def hold_out(rows: Sequence[Mapping[str, Any]], share: float, by: str) -> HoldOut:
    """Choose the clips that are held out of training.

    Copies, that is clips with one label of the filter `duplicates`, are held out together.

    Args:
        rows: of the clips, as `kept_clips` returns them: `id`, `source`, and where known
            `content_hash` and `labels`.
        share: expected share of held-out clips, 0 to 1.
        by: `source`: all clips of a file; a file with more than `share` of all clips never is.
            `clip`: single clips; each file keeps one for training. `auto`: by source with ten
            files or more, else by clip.
    """
    if share <= 0 or not rows:
        return HoldOut([False] * len(rows), "")
    files = [row.get("content_hash") or row["source"] for row in rows]
    copies = [_copies_of(row) for row in rows]
    num_files = len(set(files))
    if by == "source" or (by == "auto" and num_files >= MIN_SOURCES):
        flags = _by_source(files, copies, share)
        if any(flags):
            held = len({file for file, flag in zip(files, flags, strict=True) if flag})
            text = f"all clips of {held} of {num_files} files of footage"
            return HoldOut(flags, f"held out: {sum(flags)} of {len(rows)} clips, {text}")
        why = "no group of files has few enough of the clips to be held out as a whole"
    else:
        why = f"{num_files} files of footage are too few" if by == "auto" else "as the recipe says"
    flags = _by_clip([row["id"] for row in rows], files, copies, share)
    text = f"single clips, whose footage is trained on too ({why})" if any(flags) else why
    return HoldOut(flags, f"held out: {sum(flags)} of {len(rows)} clips, {text}")


def _copies_of(row: Mapping[str, Any]) -> str | None:
    labels = row.get("labels") or ()
    return next((each["label"] for each in labels if each["filter"] == COPIES), None)


def _by_source(files: Sequence[str], copies: Sequence[str | None], share: float) -> list[bool]:
    """Files that share copies are held out together, in the order of the hashes of their content.

    At least one group of files is held out, and about `share` of the clips at most.
    """
    groups = joined_groups(list(zip(files, copies, strict=True)))
    sizes = Counter(groups)
    names: dict[int, str] = {}
    for group, file in zip(groups, files, strict=True):
        names[group] = min(file, names.get(group, file))
    limit = max(share * len(files), 1)
    held: set[int] = set()
    held_clips = 0
    draws = {group: _draw(name) for group, name in names.items()}
    for group in sorted(names, key=lambda group: (draws[group], names[group])):
        if draws[group] >= share and held:
            break
        # twice the share: the choice hardly ever depends on how many clips others have
        room = held_clips + sizes[group] <= 2 * limit or not held
        if room and sizes[group] <= limit and len(held) < len(names) - 1:
            held.add(group)
            held_clips += sizes[group]
    return [group in held for group in groups]


def _by_clip(
    ids: Sequence[str], files: Sequence[str], copies: Sequence[str | None], share: float
) -> list[bool]:
    """Clips in the order of the hashes of their ids, so that no file loses its last clip.

    At least one clip is held out where some file has another one. Linear in the number of clips,
    but for one sort.
    """
    groups = joined_groups(list(zip(ids, copies, strict=True)))
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    names = {group: min(ids[index] for index in inside) for group, inside in members.items()}
    draws = {group: _draw(name) for group, name in names.items()}
    remaining = Counter(files)
    held_out = [False] * len(ids)
    any_held_out = False
    for group in sorted(members, key=lambda group: (draws[group], names[group])):
        if draws[group] >= share and any_held_out:
            break
        lost = Counter(files[index] for index in members[group])
        if all(remaining[file] > count for file, count in lost.items()):
            remaining.subtract(lost)
            any_held_out = True
            for index in members[group]:
                held_out[index] = True
    return held_out


def _draw(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32

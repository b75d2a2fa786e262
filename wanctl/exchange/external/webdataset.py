"""Samples in tar shards, as webdataset and video2dataset write them.

webdataset takes the name up to the first dot as the key of a sample. Names of footage have dots
too (`Track 2.0.mp4`); such files are listed, and the row says what webdataset makes of the name.
"""

import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from wanctl.data.sidecars.texts import CAPTION_BYTES, captions_in, captions_of_facts
from wanctl.exchange.external.archives import (
    ArchiveError,
    read_member,
    tar_members,
    why_not_plain,
)
from wanctl.exchange.external.cells import figures
from wanctl.exchange.external.clips import (
    MEDIA_SUFFIXES,
    ExternalClip,
    ExternalDataset,
    LayoutError,
)
from wanctl.textfiles import TextError, decode_text, parse_json, printable
from wanctl.video.footage import VIDEO_SUFFIXES

_TEXTS = (".txt", ".json")


def read_shards(paths: Sequence[Path]) -> ExternalDataset:
    """The samples of some shards; a damaged shard costs its own samples.

    Raises:
        LayoutError: no shard has a sample.
    """
    clips: list[ExternalClip] = []
    counts: Counter[str] = Counter()
    for path in paths:
        clips += _shard(path, counts)
    if all(clip.error for clip in clips):
        why = f"{clips[0].path}: {clips[0].error}" if clips else f"{paths[0]}: holds no clip"
        raise LayoutError(why)
    return ExternalDataset("webdataset", clips, [f"{n} {what}" for what, n in counts.items()])


def _shard(path: Path, counts: Counter[str]) -> list[ExternalClip]:
    groups: dict[tuple[str, str], list[tarfile.TarInfo]] = defaultdict(list)
    clips: list[ExternalClip] = []
    damage = ""
    try:
        for member in tar_members(path):
            base = PurePosixPath(member.name).name
            if member.isdir() or base.startswith("."):
                continue
            if _ending(member) in MEDIA_SUFFIXES and (why := why_not_plain(member)):
                clips.append(_failed(path, member.name, why))
                continue
            folder = str(PurePosixPath(member.name).parent)
            groups[folder, base.partition(".")[0]].append(member)
    except ArchiveError as error:
        damage = str(error)
    for (_, key), members in groups.items():
        clips += _group(path, key, members, counts)
    if damage:
        clips.append(ExternalClip(path, name=path.name, error=damage))
    return clips


def _group(
    path: Path, key: str, members: Sequence[tarfile.TarInfo], counts: Counter[str]
) -> Iterator[ExternalClip]:
    """Clips of the members whose names are equal up to the first dot."""
    names = Counter(member.name for member in members)
    media: dict[str, list[tarfile.TarInfo]] = defaultdict(list)
    for member in members:
        if _ending(member) in MEDIA_SUFFIXES:
            media[_stem(member)].append(member)
    if not media:
        counts["samples of the shards have neither video nor image"] += 1
        return
    used: set[str] = set()
    for stem, found in media.items():
        texts = _texts_of(stem, key, members, alone=len(media) == 1)
        used |= {text.name for text in texts.values()}
        videos = [member for member in found if _ending(member) in VIDEO_SUFFIXES]
        if len(videos) not in (0, len(found)):
            counts["images beside a video of the same name are not listed"] += 1
        for member in videos or found:
            notes = [f"comes {names[member.name]} times"] if names[member.name] > 1 else []
            if stem != key:
                notes.append(f"a dot in its name: webdataset takes {key!r} as its key")
            yield _sample(path, member, texts, notes)
    if unused := {m.name for m in members if _ending(m) in _TEXTS} - used:
        counts["caption files in the shards fit no video or several"] += len(unused)


def _texts_of(
    stem: str, key: str, members: Sequence[tarfile.TarInfo], *, alone: bool
) -> dict[str, tarfile.TarInfo]:
    """The .txt and .json of a video: of its whole name, or of the key where it is alone."""
    texts = {}
    for ending in _TEXTS:
        found = [member for member in members if _ending(member) == ending]
        own = [member for member in found if _stem(member) == stem]
        if not own and alone:
            own = [m for m in found if _stem(m) == key] or (found if len(found) == 1 else [])
        if own:
            texts[ending] = own[-1]
    return texts


def _sample(
    path: Path,
    member: tarfile.TarInfo,
    texts: Mapping[str, tarfile.TarInfo],
    notes: Sequence[str],
) -> ExternalClip:
    notes = list(notes)
    facts = _content(path, texts.get(".json"), notes)
    if facts is not None and not isinstance(facts, dict):
        notes.append(f"{texts['.json'].name}: need an object")
    facts = facts if isinstance(facts, dict) else {}
    of_facts = captions_of_facts(facts)
    stated, left_out = figures(facts)
    own = captions_in(_content(path, texts.get(".txt"), notes))
    captions = [each.text for each in own.captions]
    if _ours(facts):
        captions = [each.text for each in captions_in(facts["captions"]).captions]
    elif not captions:
        captions = [each.text for each in of_facts.captions]
        notes += of_facts.problems
    if PurePosixPath(member.name).is_absolute() or ".." in PurePosixPath(member.name).parts:
        notes.append("its name leaves the folder a shard is unpacked to")
    return ExternalClip(
        path,
        member=member.name,
        span=(member.offset_data, member.size),
        captions=captions,
        stated=stated,
        name=f"{path.name}/{member.name}",
        notes=[*notes, *left_out],
    )


def _content(path: Path, member: tarfile.TarInfo | None, notes: list[str]) -> Any:
    """The text or JSON value of a member; None, with a note, where it cannot be read."""
    if member is None:
        return None
    try:
        text = decode_text(read_member(path, member, CAPTION_BYTES), member.name)
        return parse_json(text, member.name) if _ending(member) == ".json" else text
    except (ArchiveError, TextError) as error:
        why = str(error)
        name = printable(member.name)
        notes.append(why if why.startswith(name) else f"{name}: {why}")
        return None


def _ours(facts: Mapping[str, Any]) -> bool:
    """Whether the facts are those of an export of wanctl, which hold all captions of a clip."""
    captions = facts.get("captions")
    return isinstance(captions, list) and all(
        isinstance(each, dict) and {"text", "variant", "backend"} <= each.keys()
        for each in captions
    )


def _failed(path: Path, name: str, why: str) -> ExternalClip:
    return ExternalClip(path, member=name, name=f"{path.name}/{name}", error=why)


def _ending(member: tarfile.TarInfo) -> str:
    return PurePosixPath(member.name).suffix.lower()


def _stem(member: tarfile.TarInfo) -> str:
    return PurePosixPath(member.name).stem

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
from wanctl.video.image_files import IMAGE_SUFFIXES

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
    by_stem: dict[str, dict[str, list[tarfile.TarInfo]]] = defaultdict(lambda: defaultdict(list))
    for member in members:
        by_stem[_stem(member)][_ending(member)].append(member)
    media = {stem: files for stem, files in by_stem.items() if files.keys() & MEDIA_SUFFIXES}
    whole = {ending: found[-1] for ending, found in by_stem[key].items() if ending in _TEXTS}
    if not media:
        counts["samples of the shards have neither video nor image"] += 1
    used = {key}
    for stem, files in media.items():
        used.add(stem)
        texts = {ending: files[ending][-1] for ending in _TEXTS if ending in files}
        notes = []
        if stem != key:
            notes.append(f"a dot in its name: webdataset takes {key!r} as its key")
            if not texts and len(media) == 1:
                texts = whole
            elif whole and not texts:
                notes.append(f"{key}.txt or .json is not used, it fits {len(media)} files")
        videos = [m for ending in files.keys() & VIDEO_SUFFIXES for m in files[ending]]
        images = [m for ending in files.keys() & IMAGE_SUFFIXES for m in files[ending]]
        if videos and images:
            counts["images beside a video of the same name are not listed"] += len(images)
        for member in videos or images:
            twice = [f"comes {names[member.name]} times"] if names[member.name] > 1 else []
            yield _sample(path, member, texts, [*notes, *twice])
    stray = [
        stem for stem, files in by_stem.items() if stem not in used and files.keys() & {*_TEXTS}
    ]
    if media and stray:
        counts["caption files in the shards belong to no video"] += len(stray)


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

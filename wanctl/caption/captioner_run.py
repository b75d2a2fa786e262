"""Captioners that answer at once: sidecar files, sentences from measurements, plug-ins.

They caption one part after the other. Captions of a plug-in's model are kept: it runs only on clips
that it has not captioned yet. Sidecars and templates cost nothing, so they are read again each time
and an edited file takes effect.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from wanctl.caption.backends import Caption, CaptionClip, Captioner, caption_table
from wanctl.caption.checks.text import caption_problem, normalise, unquoted, with_quotes
from wanctl.caption.clips import PartClips, Row
from wanctl.caption.measured_words import visible_texts
from wanctl.caption.pipeline.decode import DecodeLimits
from wanctl.data.dataset import DatasetDir
from wanctl.log import log
from wanctl.video.decode import read_clip
from wanctl.video.frames import FrameBatch, FrameSpec, range_of
from wanctl.video.workers.worker_pool import DecodePool, Failure

BATCH = 16
"""Number of clips that a captioner gets at a time."""


@dataclass(frozen=True)
class CaptionerSettings:
    """How captioners are run.

    Attributes:
        quote_text: what is done with a model's caption that omits text which OCR read: `append`,
            `drop` or `ignore`.
        limits: of the decoding processes.
    """

    quote_text: str
    limits: DecodeLimits


class CaptionerRun:
    """Runs one captioner.

    Attributes:
        table: of its captions.
        unquoted: captions that did not quote the text in the picture.
    """

    def __init__(
        self, dataset: DatasetDir, name: str, captioner: Captioner, settings: CaptionerSettings
    ) -> None:
        self.table = caption_table(name, captioner.key)
        self.unquoted = 0
        self._dataset, self._name, self._captioner = dataset, name, captioner
        self._settings = settings

    def part(self, clips: PartClips, ids: Sequence[str]) -> None:
        """Caption some clips of a part and write the part of the table."""
        is_model = self._captioner.author == "model"
        captions = self._old_rows(clips) if is_model else []
        done = {row["id"] for row in captions}
        pending = [each for each in ids if each not in done]
        for found in self._caption(clips, pending) if pending else ():
            new = [{**row, "span": clips.span(row["id"])} for row in found]
            captions = sorted(captions + new, key=lambda row: (row["id"], row["variant"]))
            if is_model:  # a kill loses one batch at most
                self._dataset.write_part(self.table, clips.part, captions)
        if captions or self._dataset.has_part(self.table, clips.part):
            self._dataset.write_part(self.table, clips.part, captions)

    def _old_rows(self, clips: PartClips) -> list[Row]:
        """What the table holds, without captions of other spans of clips than are kept."""
        if not self._dataset.has_part(self.table, clips.part):
            return []
        rows = self._dataset.read(self.table, parts=[clips.part]).to_pylist()
        spans = {each: clips.span(each) for each in clips.ids}
        return [row for row in rows if spans.get(row["id"], row["span"]) == row["span"]]

    def _caption(self, clips: PartClips, ids: Sequence[str]) -> Iterator[list[Row]]:
        """Yield the caption rows of each batch of clips that pass the checks."""
        captioner = self._captioner
        spec = captioner.frames()
        rows = [clips.row(each) for each in ids]
        frames: Iterable[FrameBatch | None]
        frames = [None] * len(ids) if spec is None else self._frames(rows, spec)
        pairs = zip(ids, frames, strict=True)
        seen = (pair for pair in pairs if spec is None or pair[1] is not None)
        while batch := list(islice(seen, BATCH)):
            metadata = [clips.clip(each, captioner.evidence) for each, _ in batch]
            answers = captioner.caption(metadata, [each for _, each in batch])
            # a captioner that drops an answer would shift all later ones to the wrong clips
            yield [
                row
                for clip, captions in zip(metadata, answers, strict=True)
                for row in self._checked(clip, self._quoting(clip, captions))
            ]

    def _quoting(self, clip: CaptionClip, captions: Sequence[Caption]) -> list[Caption]:
        """Apply `caption.quote_text` to captions of a model that gets OCR strings."""
        texts = visible_texts(clip.evidence) if self._captioner.author == "model" else []
        policy = self._settings.quote_text
        kept = []
        for each in captions:
            missing = unquoted(each.text, texts) if policy != "ignore" else []
            self.unquoted += bool(missing)
            if missing and policy == "drop":
                continue
            if missing:
                each = Caption(with_quotes(each.text.strip(), missing), each.variant)
            kept.append(each)
        return kept

    def _frames(self, rows: Sequence[Row], spec: FrameSpec) -> Iterator[FrameBatch | None]:
        """Decoded frames of each clip; None, with a warning, where decoding fails."""
        tasks = (
            (
                row["source"], row["start_pts"], row["end_pts"], [spec], row["width"],
                row["height"], range_of(row),
            )
            for row in rows
        )  # fmt: skip
        limits = self._settings.limits
        with DecodePool(limits.workers, limits.timeout_s, limits.memory_bytes) as pool:
            for index, result in pool.map(read_clip, tasks):
                if isinstance(result, Failure):
                    row = rows[index]
                    log.warning("%s (%s): %s", row["source"], row["id"], result.message)
                    yield None
                else:
                    yield result[0]

    def _checked(self, clip: CaptionClip, captions: Sequence[Caption]) -> Iterator[Row]:
        author = self._captioner.author
        for each in captions:
            text = normalise(each.text, strip_opener=author == "model")
            if why := caption_problem(text, author):
                log.warning(
                    "%s (%s): the caption from %s %s", clip.source, clip.id, self._name, why
                )
                continue
            yield {"id": clip.id, "text": text, "variant": each.variant, "backend": self._name}

"""The work on one clip: a structure from its frames, then per language its captions from that.

An answer that fails a check is asked for again with the reasons. Of captions only those that failed
are asked again, and each that passes is kept.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from wanctl.caption.backends import Caption
from wanctl.caption.checks.facts import Finding, MeasuredFacts
from wanctl.caption.structured.answers import read_captions, read_structure
from wanctl.caption.structured.caption_prompt import Rejection, caption_system, caption_text
from wanctl.caption.structured.clip_steps import Ask, ClipChecks, ClipTask
from wanctl.caption.structured.quoting import check_caption_quotes, check_structure_quotes
from wanctl.caption.structured.result import FAILED, STRUCTURE, ClipResult, Flag
from wanctl.caption.structured.schema import captions_schema, structure_schema
from wanctl.caption.structured.structure_prompt import structure_system, structure_text
from wanctl.caption.variants import parse_variant
from wanctl.vlm.chat import ChatAnswer, ChatRequest

STRUCTURE_TOKENS = 3072
"""A full structure has some 700 tokens; one with thirty lines of text 2,000."""

# The likeliest structure first; another draw where that was rejected. Captions of several styles
# need some variety.
_STRUCTURE_TEMPERATURES = (0.0, 0.6)
_CAPTION_TEMPERATURE = 0.7
# tokens per word of English and per Chinese character, with room for models that count badly
_TOKENS_PER_WORD, _TOKENS_PER_CHARACTER = 3, 2
_TOKENS_PER_KEY = 40


@dataclass
class _Language:
    """The captions of one language that are open.

    Attributes:
        pending: variants that have not passed yet.
        rejected: the last rejected caption of each of them, after the first attempt.
        attempt: number of requests.
    """

    pending: tuple[str, ...]
    rejected: dict[str, Rejection] = field(default_factory=dict)
    attempt: int = 0


class StructuredSteps:
    """Implements `ClipSteps`.

    Args:
        task: what is missing of the clip.
        facts: measured of the clip.
        checks: what the answers are held against.
        retries: how often a rejected answer is asked for again.
        still: the clip is a still image.

    Raises:
        ValueError: neither frames nor a structure are given, or a variant has an unknown name.
    """

    def __init__(
        self, task: ClipTask, facts: MeasuredFacts, checks: ClipChecks, *, retries: int, still: bool
    ) -> None:
        if task.structure is None and task.frames is None:
            raise ValueError(f"{task.clip.id}: a structure needs frames")
        self._task, self._facts, self._checks = task, facts, checks
        self._retries, self._still = retries, still
        self._structure = task.structure
        self._structure_attempts = 0
        self._languages = _by_language(task.variants)
        self._open: dict[str, str] = {}  # request id -> STRUCTURE or a language
        self._captions: list[Caption] = []
        self._flags: list[Flag] = []
        self._input_tokens = self._output_tokens = 0
        self._is_started = False

    @property
    def clip_id(self) -> str:
        """Of the clip."""
        return self._task.clip.id

    def start(self) -> Sequence[Ask]:
        """The structured request, or the captions' where the structure is known."""
        self._is_started = True
        if self._structure is None:
            return [self._ask_structure([])]
        return [self._ask_captions(language) for language in self._languages]

    def take(self, answer: ChatAnswer) -> Sequence[Ask]:
        """Check an answer; the requests that follow from it.

        Raises:
            ValueError: the answer's id belongs to no open request of this clip.
        """
        if answer.id not in self._open:
            raise ValueError(f"{self.clip_id}: no open request has the id {answer.id!r}")
        part = self._open.pop(answer.id)
        self._input_tokens += answer.input_tokens
        self._output_tokens += answer.output_tokens
        if part == STRUCTURE:
            return self._take_structure(answer)
        return self._take_captions(part, answer)

    @property
    def result(self) -> ClipResult | None:
        """None while requests are open."""
        if self._open or not self._is_started:
            return None
        order = {name: index for index, name in enumerate((STRUCTURE, *self._task.variants))}
        return ClipResult(
            clip_id=self.clip_id,
            structure=self._structure,
            captions=tuple(sorted(self._captions, key=lambda each: order[each.variant])),
            flags=tuple(sorted(self._flags, key=lambda each: order[each.variant])),
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            attempts=self._structure_attempts,
        )

    def _ask_structure(self, findings: Sequence[Finding]) -> Ask:
        frames = self._task.frames
        assert frames is not None
        self._structure_attempts += 1
        request_id = self._open_request(STRUCTURE, self._structure_attempts)
        request = ChatRequest(
            id=request_id,
            system=structure_system(still=self._still),
            text=structure_text(
                self.clip_id, frames, self._facts, still=self._still,
                reasons=[str(each) for each in findings],
            ),
            frames=frames,
            schema=structure_schema(self.clip_id, still=self._still),
            max_tokens=STRUCTURE_TOKENS,
            temperature=_STRUCTURE_TEMPERATURES[self._structure_attempts > 1],
            seed=_seed(request_id),
        )  # fmt: skip
        return Ask("vision", request)

    def _take_structure(self, answer: ChatAnswer) -> Sequence[Ask]:
        if answer.finish == "failed":
            self._flag(STRUCTURE, "", [f"{FAILED}: {answer.error}"], self._structure_attempts)
            return []
        structure, findings = read_structure(answer, self.clip_id, still=self._still)
        if structure is not None:
            findings = [
                *check_structure_quotes(structure, self._facts),
                *self._checks.check_structure(structure, self._facts),
            ]
        if structure is not None and not findings:
            self._structure = structure
            return [self._ask_captions(language) for language in self._languages]
        if self._structure_attempts <= self._retries:
            return [self._ask_structure(findings)]
        reasons = [str(each) for each in findings]
        self._flag(STRUCTURE, answer.text, reasons, self._structure_attempts)
        return []

    def _ask_captions(self, language: str) -> Ask:
        state = self._languages[language]
        state.attempt += 1
        assert self._structure is not None
        request_id = self._open_request(language, state.attempt)
        request = ChatRequest(
            id=request_id,
            system=caption_system(language),
            text=caption_text(
                self.clip_id, self._structure, state.pending,
                still=self._still, rejected=state.rejected,
            ),
            frames=None,
            schema=captions_schema(self.clip_id, state.pending),
            max_tokens=_caption_tokens(state.pending),
            temperature=_CAPTION_TEMPERATURE,
            seed=_seed(request_id),
        )  # fmt: skip
        return Ask("text", request)

    def _take_captions(self, language: str, answer: ChatAnswer) -> Sequence[Ask]:
        state = self._languages[language]
        if answer.finish == "failed":
            for variant in state.pending:
                self._flag(variant, "", [f"{FAILED}: {answer.error}"], state.attempt)
            return []
        texts, missing = read_captions(answer, self.clip_id, state.pending)
        rejected = {}
        for variant in state.pending:
            text = texts.get(variant, "")
            findings = self._check_caption(text, variant) if text else missing[variant]
            if findings:
                rejected[variant] = Rejection(text, tuple(str(each) for each in findings))
            else:
                self._captions.append(Caption(text, variant))
        state.pending, state.rejected = tuple(rejected), rejected
        if rejected and state.attempt <= self._retries:
            return [self._ask_captions(language)]
        for variant, rejection in rejected.items():
            self._flag(variant, rejection.text or answer.text, rejection.reasons, state.attempt)
        return []

    def _check_caption(self, text: str, variant: str) -> Sequence[Finding]:
        assert self._structure is not None
        return [
            *check_caption_quotes(text, variant, self._structure),
            *self._checks.check_caption(text, variant, self._structure, self._facts),
        ]

    def _open_request(self, part: str, attempt: int) -> str:
        request_id = f"{self.clip_id}/{part}" + (f"#{attempt}" if attempt > 1 else "")
        self._open[request_id] = part
        return request_id

    def _flag(self, variant: str, text: str, checks: Sequence[str], attempts: int) -> None:
        text = text.encode(errors="replace").decode()  # no table holds half a character
        self._flags.append(Flag(variant, text, tuple(checks), attempts))


def _by_language(variants: Sequence[str]) -> dict[str, _Language]:
    languages: dict[str, list[str]] = {}
    for name in variants:
        languages.setdefault(parse_variant(name).language, []).append(name)
    return {language: _Language(tuple(names)) for language, names in languages.items()}


def _seed(request_id: str) -> int:
    """A seed below 2**31 that depends on clip, part and attempt alone."""
    return int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:4], "big") >> 1


def _caption_tokens(variants: Sequence[str]) -> int:
    total = 100
    for name in variants:
        variant = parse_variant(name)
        rate = _TOKENS_PER_CHARACTER if variant.language == "zh" else _TOKENS_PER_WORD
        total += rate * variant.asked_length[1] + _TOKENS_PER_KEY
    return total

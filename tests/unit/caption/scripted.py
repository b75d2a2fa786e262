"""A chat model that answers by a script, and right answers. Used by tests of captioning."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wanctl.caption.backends import CaptionClip
from wanctl.caption.checks.facts import Finding, MeasuredFacts
from wanctl.caption.structured.clip_steps import ClipSteps
from wanctl.caption.structured.result import ClipResult
from wanctl.caption.structured.schema import CLIP_ID
from wanctl.vlm.chat import ChatAnswer, ChatRequest

STRUCTURE: Mapping[str, Any] = {
    "subjects": ["an elderly man in a blue apron", "a border collie"],
    "action": ["the man kneads dough", "the dog wags its tail"],
    "event": ["the dough slips off the table and the dog carries it away"],
    "camera_angle": "eye level",
    "camera_motion": ["pan left"],
    "object_category": ["man", "border collie", "table"],
    "object_color": [{"object": "apron", "color": "blue"}],
    "object_counting": [{"object": "man", "count": 1}],
    "ocr_text": [],
    "scene": "inside a small bakery by day",
    "style": "live-action footage, medium shot",
    "lighting": "soft daylight from a window on the left",
    "mood": "calm",
}
"""A structure that is valid against its schema."""

Reply = Callable[[ChatRequest], ChatAnswer]


class ScriptedChatModel:
    """Implements `ChatModel`: answers each request by a function, and records it.

    Args:
        reply: answers one request; `right_answer` where it is not given.
    """

    name = "scripted"
    parallel = 1
    batch = 1

    def __init__(self, reply: Reply | None = None) -> None:
        self.requests: list[ChatRequest] = []
        self._reply = reply or right_answer

    def check(self) -> None:
        """Nothing has to be installed."""

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """The script's answers."""
        self.requests += requests
        return [self._reply(request) for request in requests]

    def close(self) -> None:
        """Nothing has to be closed."""


class WordChecks:
    """Checks that reject what holds a word, and nothing else."""

    def __init__(self, word: str) -> None:
        self._word = word

    def check_structure(
        self, structure: Mapping[str, Any], facts: MeasuredFacts
    ) -> Sequence[Finding]:
        """A finding where the scene has the word."""
        del facts
        return [Finding("word", "no such scene")] if self._word in structure["scene"] else []

    def check_caption(
        self, text: str, variant: str, structure: Mapping[str, Any], facts: MeasuredFacts
    ) -> Sequence[Finding]:
        """A finding where the caption has the word."""
        del variant, structure, facts
        return [Finding("word", f"say not {self._word}")] if self._word in text else []


def clip(
    clip_id: str = "00000000000000aa", duration_s: float = 5.0, **evidence: Any
) -> CaptionClip:
    """A clip of 640 by 360 pixels with measurements of filters."""
    return CaptionClip(clip_id, Path("a.mp4"), 0, 0.0, duration_s, 640, 360, False, evidence)


def answered(request: ChatRequest, content: Any, finish: Any = "stop") -> ChatAnswer:
    """An answer of ten tokens; `content` is its text, or is written as JSON."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return ChatAnswer(request.id, text, finish, 100, 10)


def right_content(request: ChatRequest, structure: Mapping[str, Any] = STRUCTURE) -> dict[str, Any]:
    """What a model that makes no mistake answers to a structured or a captions' request."""
    assert request.schema is not None
    keys = request.schema["required"]
    clip_id = request.schema["properties"][CLIP_ID]["const"]
    if "scene" in keys:
        return {CLIP_ID: clip_id} | {key: structure[key] for key in keys if key != CLIP_ID}
    names = [key for key in keys if key != CLIP_ID]
    return {CLIP_ID: clip_id} | {name: f"Caption {name} of {clip_id}." for name in names}


def right_answer(request: ChatRequest) -> ChatAnswer:
    """The answer of a model that makes no mistake."""
    return answered(request, right_content(request))


def run_steps(steps: ClipSteps, model: ScriptedChatModel) -> ClipResult:
    """Ask a model until the work on a clip is done."""
    open_asks = list(steps.start())
    while open_asks:
        open_asks += steps.take(model.ask([open_asks.pop(0).request])[0])
    assert steps.result is not None
    return steps.result

"""Holds what a caption or a structure says of camera and speed against what was measured."""

import re
from collections.abc import Iterable, Sequence

from wanctl.caption.camera import CAMERA_PHRASES
from wanctl.caption.checks.camera_claims import MOVES, STILL, camera_claims
from wanctl.caption.checks.facts import Finding, MeasuredFacts
from wanctl.caption.checks.language import without_quotes

# What a plane cannot tell apart is one motion: turning and travelling, focal length and distance.
_SAME = {
    "truck left": "pan left", "truck right": "pan right", "pedestal up": "tilt up",
    "pedestal down": "tilt down", "push in": "zoom in", "pull out": "zoom out",
}  # fmt: skip
_OPPOSITE = {
    "pan left": "pan right", "pan right": "pan left", "tilt up": "tilt down",
    "tilt down": "tilt up", "zoom in": "zoom out", "zoom out": "zoom in",
}  # fmt: skip
_UNDECIDED = {"unclear", "hand-held"}
# Around a subject the background moves one way and the foreground the other.
_AMBIGUOUS = {"arc", "roll"}

# Words of great speed; a clip of the tier `static` shows talks and still lifes.
_FAST = re.compile(
    r"\b(?:sprint(?:s|ing)|gallop(?:s|ing)|dash(?:es|ing)|rac(?:es|ing)|speed(?:s|ing) "
    r"(?:along|down|"
    r"past|through|across|up|away|off)|explod(?:es|ing)|hurtl(?:es|ing)|zoom(?:s|ing) past|"
    r"chas(?:es|ing)|leap(?:s|ing)|somersaults?|swerv(?:es|ing)|crash(?:es|ing) into)\b"
    r"|飞驰|狂奔|冲刺|爆炸|疾驰|飞奔|追逐|飞速|翻滚"
)


def check_camera(text: str, facts: MeasuredFacts) -> list[Finding]:
    """A finding where a caption contradicts the measured camera or the measured tier of motion."""
    findings = []
    if facts.camera is not None:
        findings += _contradictions(camera_claims(without_quotes(text)), facts.camera, "measured")
    fast = _FAST.search(text.lower()) if facts.motion == "static" and facts.duration_s > 0 else None
    if fast:
        reason = f"hardly anything moves in this clip; {fast.group()!r} cannot be"
        findings.append(Finding("motion", reason))
    return findings


def check_camera_of_structure(text: str, motions: Sequence[str]) -> list[Finding]:
    """A finding where a caption contradicts the camera motion of its structure."""
    stated = {_SAME.get(each, each) for each in motions}
    if not stated or stated & (_UNDECIDED | _AMBIGUOUS):
        return []
    return _contradictions(camera_claims(without_quotes(text)), sorted(stated), "stated before")


def check_structure_camera(motions: Sequence[str], facts: MeasuredFacts) -> list[Finding]:
    """Findings where a structure's camera motion contradicts itself or the measured one."""
    claims = frozenset(_SAME.get(each, each) for each in motions) - _UNDECIDED
    if STILL in claims and len(claims) > 1:
        reason = "camera_motion is `still` and something else at the same time; keep one"
        return [Finding("camera", reason)]
    if facts.camera is None:
        return []
    return _contradictions(claims, facts.camera, "measured")


def _contradictions(claims: frozenset[str], truth: Iterable[str], how: str) -> list[Finding]:
    """A finding where claims contradict the true motions and none agrees with them."""
    known = set(truth)
    phrase = " and ".join(CAMERA_PHRASES.get(each, each) for each in sorted(known))
    if known == {STILL}:
        wrong = claims - {STILL} - _UNDECIDED if STILL not in claims else set()
    elif claims & (known | _AMBIGUOUS):
        return []
    else:
        wrong = claims & ({_OPPOSITE[each] for each in known if each in _OPPOSITE} | {STILL})
    if not wrong:
        return []
    claim = ", ".join("moves" if each == MOVES else each for each in sorted(wrong))
    return [Finding("camera", f"the camera {phrase} ({how}); not: {claim}")]

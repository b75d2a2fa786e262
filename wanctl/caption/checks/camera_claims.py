"""What a caption says of the camera's motion, in English and Chinese.

A claim needs the camera as its subject ("the camera slowly pans left and then zooms in"), or a term
of the trade ("a pan to the left", "static shot"), because people tilt heads and pans are cookware.
Denied motion ("without panning") is no claim.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from wanctl.caption.checks.language import has_chinese

STILL = "still"
MOVES = "moves"
"""Motion without a direction that can be compared."""

# Leading words of the camera; `view` and `shot` also name what is seen, so only verbs follow them.
_CAMERA = r"(?:camera(?:work)?|lens|viewpoint|perspective|(?:the|this) (?:shot|view|frame))"
_FILLER = (
    r"(?:\w+ly|then|also|now|soon|next|it|is|are|was|has|keeps|remains?|stays?|begins?|starts?|"
    r"continues?|to|by|and|,|in|a|an|the|with|does|do|smooth|slow|gentle|gradual|subtle"
    r"|steady|slight|"
    r"movement|motion|movements|work|position|angle|stands?|sits?|at|eye|ground|level)"
)
_ADVERB = (
    r"(?:\w+ly|slight(?:ly)?|back|over|across|around|further|away|a bit|a little|and|,|more|"
    r"along|past|the (?:scene|view|room|landscape|street|frame|subjects?|horizon|table|city|area)|"
    r"its \w+|motion|movement)"
)
_DIRECTIONS = {
    "left": r"left(?:ward)?s?", "right": r"right(?:ward)?s?", "up": r"up(?:ward)?s?|overhead",
    "down": r"down(?:ward)?s?", "in": r"in(?:ward)?s?\b(?! (?:the|a|an) )|into|closer|"
    r"forwards?|nearer|towards?(?= (?!the (?:left|right|top|bottom|sky|ground)))",
    "out": r"out(?:ward)?s?|away|back(?:ward)?s?",
}  # fmt: skip
_VERBS = {
    "pan": r"pan(?:s|ned|ning)?",
    "tilt": r"tilt(?:s|ed|ing)?",
    "zoom": r"zoom(?:s|ed|ing)?",
    "push": r"(?:push|dolly|doll|inch|creep|advance|advanc)(?:s|es|y|ies|ied|ed|ing|ying)?",
    "pull": r"pull(?:s|ed|ing)?|back(?:s|ed|ing)?(?= (?:away|up|off))|retreat(?:s|ed|ing)?|"
    r"recede(?:s|d)?|reced(?:ing)",
    "truck": r"(?:truck|slid|slide|glid|glide|mov|move|drift|sweep|travel|float)"
    r"(?:s|es|ed|d|ing)?",
    "turn": r"(?:shift|swing|turn|rotat|rotate|swivel|spin)(?:s|es|ed|d|ing)?",
    "rise": r"(?:ris|rise|ascend|climb|lift)(?:s|es|ed|d|ing)?",
    "fall": r"(?:descend|lower|drop|sink)(?:s|es|ed|d|ing)?",
    "crane": r"(?:crane|cran|pedestal|boom)(?:s|es|ed|d|ing)?",
    "track": r"(?:follow|track|trail|chase|chas)(?:s|es|ed|d|ing)?",
    "orbit": r"(?:orbit|circl|circle|arc|revolv|revolve)(?:s|es|ed|d|ing)?",
}
_VERB = "|".join(f"(?P<{name}>{verb})" for name, verb in _VERBS.items())
_DIRECTION = "|".join(f"(?P<d_{name}>{words})" for name, words in _DIRECTIONS.items())
_TO = r"(?:(?:to|towards?)(?: the)? )?"
_FROM = (
    r"(?:from (?:the )?(?:left|right|top|bottom|above|below)(?: side)? (?:to|towards?) (?:the )?)"
)
_MOVE = rf"\b(?:{_VERB})\b(?:(?: ?{_ADVERB}\b)? ?(?:{_FROM}|{_TO})(?:{_DIRECTION})\b)?"
_MOVE_PATTERN = re.compile(_MOVE)
_SUBJECT = re.compile(rf"\b{_CAMERA}\b(?:['’]s)?(?:,? {_FILLER}(?=[ ,])){{0,6}},? ?")
_LEADING = re.compile(rf"(?:^|[.;,] )(?:\w+ly )?(?={_MOVE}[^,.]{{0,40}}, {_CAMERA}\b)")
_NEXT = re.compile(
    rf"(?:,? (?:and|then|before|while|as it|but|or)(?: {_FILLER}(?=[ ,])){{0,4}} |, "
    rf"?(?:{_FILLER} ){{0,3}})"
)
# Nouns of the trade that need no subject; "pan left on the stove" is a thing.
_TERM = re.compile(
    r"(?<!frying )(?<!the )\b(?P<pan>pan(?:ning)?)(?: shot)? (?:to the |towards? the |slowly "
    r")?(?P<d_left>left)\b"
    r"(?! (?:on|in|at|over|by))"
    r"|(?<!frying )(?<!the )\b(?P<pan2>pan(?:ning)?)(?: shot)? (?:to the |towards? the "
    r"|slowly )?(?P<d_right>right)\b"
    r"(?! (?:on|in|at|over|by|next|behind))"
    r"|\b(?P<zoom>zoom(?:ing|s)?)[ -](?:(?P<d_in>in)|(?P<d_out>out))\b"
    r"|\b(?P<push>dolly|push)(?:-(?P<d_in3>in)\b| (?P<d_in2>in) (?:shot|on|to|move))"
    r"|\b(?P<pull>dolly|pull)(?:-(?P<d_out3>out|back)\b| (?P<d_out2>out|back) (?:shot|from|move))"
    r"|\b(?P<track>tracking|follow(?:ing)?) shot\b|\b(?P<orbit>orbit(?:al|ing)?|arc) shot\b"
    r"|\b(?P<tilt>tilt)(?: shot)?[ -](?:(?P<d_up>up)|(?P<d_down>down))(?:wards?)? (?:shot"
    r"|from|to|reveals?)"
)
_HINT = re.compile(r"camera|lens|shot|view|perspective|frame|\b(?:pan|tilt|zoom|dolly|push)")
"""Every claim has one of these words."""
_STILL = re.compile(
    r"\b(?:static|stationary|fixed|locked[- ](?:off|down)|motionless|unmoving|immobile) "
    r"(?:\w+ )?(?:camera|shot|lens|tripod|perspective|viewpoint)\b"
    rf"|\b{_CAMERA}(?: angle| position| itself)? (?:\w+ly )?(?:remains?|stays?|is|holds?"
    rf"|stands?|keeps?|being)"
    r" (?:\w+ly |completely |in a )?(?:still|static|stationary|fixed|motionless|immobile"
    r"|unmoving|locked)\b"
    r"|\bcamera (?:does not|doesn['’]t|never) move\b|\bno (?:\w+ )?camera (?:movement|motion)\b"
    r"|\bwithout (?:any )?(?:\w+ )?camera (?:movement|motion)\b"
)
_DENIED = re.compile(
    r"\b(?:no|not|without|never|n['’]t|nor|neither|instead of|rather than|avoid(?:s|ing)?"
    r"|absence of"
    r"|lack of|than|as if|as though|like)\b[^,;]{0,40}$"
)
_MIRRORED = {"left", "right"}

_CAMERA_ZH = r"(?:镜头|摄像机|摄影机|相机|机位|运镜|视角|画面)"
_GAP_ZH = r"[^，。；！？,.;!?“”]{0,8}?"
_TO_ZH = "[向往朝]"
_MOVES_ZH = {
    "pan left": rf"{_TO_ZH}左[侧方边]?{_GAP_ZH}[摇移转扫滑]|左摇|左移",
    "pan right": rf"{_TO_ZH}右[侧方边]?{_GAP_ZH}[摇移转扫滑]|右摇|右移",
    "tilt up": rf"{_TO_ZH}上方?{_GAP_ZH}[摇移倾仰抬升]|上摇|上移|上升|上仰",
    "tilt down": rf"{_TO_ZH}下方?{_GAP_ZH}[摇移倾俯降压]|下摇|下移|下降|下俯",
    "zoom in": r"推近|推进|拉近|推向|(?<!不)放大|靠近|逼近|推镜|向前推|前推",
    "zoom out": r"拉远|拉开|缩小|拉出|后拉|后退|拉镜|向后拉|远离",
    "tracking": r"跟随|追随|跟拍|跟着|追踪",
    "arc": r"环绕|绕着|围绕",
    STILL: r"静止|固定|不动|定格",
}  # fmt: skip
_VERB_ZH = "|".join(f"(?P<m{index}>{verb})" for index, verb in enumerate(_MOVES_ZH.values()))
_CLAIM_ZH = re.compile(rf"{_CAMERA_ZH}(?P<gap>{_GAP_ZH})(?:{_VERB_ZH})")
_THEN_ZH = re.compile(
    r"(?P<gap>[，、]?(?:然后|接着|随后|再|并|同时|又|之后|最后)[^，。；！？]{0,6}?)"
    rf"(?:{_VERB_ZH})"
)
_TERM_ZH = re.compile(
    r"(?P<m0>(?:向)?左(?:摇|移)镜头)|(?P<m1>(?:向)?右(?:摇|移)镜头)|(?P<m4>推镜头)|(?P<m5>拉镜头)"
    r"|(?P<m6>跟(?:拍)?镜头)|(?P<m7>环绕镜头)|(?P<m8>(?:固定|静止|静态)(?:的)?(?:镜头|机位))"
)
_DENIED_ZH = re.compile(r"没有|没|未|无|不|并非|避免|而非")


@lru_cache(maxsize=16)
def camera_claims(text: str) -> frozenset[str]:
    """Motions of the camera that a text states: of the structure's vocabulary, MOVES, STILL.

    The kind of a sideways, vertical or forward motion is not kept apart: `pan left` also stands for
    a truck to the left, `tilt up` for a pedestal, `zoom in` for a push.
    """
    plain = " ".join(text.lower().split())
    chinese = _chinese(plain) if has_chinese(plain) else ()
    return frozenset([*(_english(plain) if _HINT.search(plain) else ()), *chinese])


def _english(text: str) -> Iterator[str]:
    for found in _STILL.finditer(text):
        if found.group().startswith(("no ", "without ")) or not _is_denied(text, found.start()):
            yield STILL
    for term in _TERM.finditer(text):
        if not _is_denied(text, term.start()):
            yield _motion(term)
    for leading in _LEADING.finditer(text):
        move = _MOVE_PATTERN.match(text, leading.end())
        if move and move.group().split()[0].endswith("ing") and (name := _motion(move)):
            yield name
    for subject in _SUBJECT.finditer(text):
        if _is_denied(text, subject.start()):
            continue
        yield from _moves_of(text, subject.end(), subject.start())


def _moves_of(text: str, position: int, start: int) -> Iterator[str]:
    """Claims of the verbs that follow a camera, one after the other."""
    while move := _MOVE_PATTERN.match(text, position):
        if not _is_denied(text[start : move.start()] + " ", len(text)) and (name := _motion(move)):
            yield name
        position = move.end()
        following = _NEXT.match(text, position)
        if following is None:
            return
        position = following.end()


def _motion(found: re.Match[str]) -> str:
    """The claim of a verb and its direction; "" where the verb alone is no claim of motion."""
    groups = {name.rstrip("23") for name, value in found.groupdict().items() if value}
    direction = next((name[2:] for name in groups if name.startswith("d_")), "")
    verb = next(name for name in groups if not name.startswith("d_"))
    if verb in ("track", "orbit"):
        return {"track": "tracking", "orbit": "arc"}[verb]
    if direction in _MIRRORED:
        return f"pan {direction}"
    if direction in ("up", "down"):
        return f"tilt {direction}"
    if verb in ("rise", "fall"):
        return {"rise": "tilt up", "fall": "tilt down"}[verb]
    if verb == "pull":
        return "zoom out" if direction != "in" else ""
    if direction in ("in", "out") and verb in ("zoom", "push", "truck", "pan"):
        # "pans out" is how many captions say that the view widens
        return f"zoom {direction}"
    return MOVES if verb in ("pan", "tilt", "zoom", "truck", "push") else ""


def _is_denied(text: str, end: int) -> bool:
    return bool(_DENIED.search(text[max(0, end - 60) : end].rstrip() + " "))


def _chinese(text: str) -> Iterator[str]:
    names = list(_MOVES_ZH)
    for pattern in (_CLAIM_ZH, _TERM_ZH):
        for found in pattern.finditer(text):
            groups = {name: value for name, value in found.groupdict().items() if value}
            denied = _DENIED_ZH.search(groups.pop("gap", ""))
            if denied:
                continue
            yield names[int(next(iter(groups))[1:])]
            following = _THEN_ZH.match(text, found.end())
            if following and not _DENIED_ZH.search(following["gap"]):
                yield next(
                    names[int(name[1:])]
                    for name, value in following.groupdict().items()
                    if value and name != "gap"
                )

"""Whether a caption for image-to-video training tells of movement, and not of looks."""

import re

from wanctl.caption.checks.camera_claims import camera_claims
from wanctl.caption.checks.facts import Finding
from wanctl.caption.checks.language import variant_of
from wanctl.caption.checks.nouns import color_families
from wanctl.caption.variants import MOTION

_MAX_COLORS = 2

# Stems of verbs of movement; `stand`, `sit`, `wear`, `hold` are states.
_STEMS = (
    "accelerat adjust advanc approach aris ascend bak balanc bend blink boil bounc breath "
    "bring bubbl burst carr catch chang chas chew clap clean climb clos collaps crawl cross "
    "crush cycl danc dart depart descend dig dip disappear div drag draw drift drink driv drop "
    "eat emerg enter erupt exit expand explod extend fad fall feed fight flap flicker flip "
    "float flow flutter fly flies follow gallop gestur giv glanc glid grab grow hammer hop hug "
    "hurr inhal jog jump kick kiss knead knock laugh lean leap leav lick lift lower march melt "
    "mix mov nod open paddl pedal peel perform pick plung pour pull punch push put rac rais "
    "reach revers rid rippl rotat runn rush sail scatter scratch scroll shak shift shrug sing "
    "sink skat slam slic slid slip slow smash smil sneez spin spinn splash spread sprint "
    "squeez stagger start stop stretch strik stroll swallow sway sweep swim swimm swing switch "
    "talk throw tilt toss touch trembl trot tumbl turn twirl twist unfold wag walk wash wav "
    "weld wip writ yawn zoom speak spark emit cheer applaud bark chop circl orbit soar hover "
    "skip strum"
)
_NOUN_STEMS = (
    "bit blow cast cook cut drum fold hit land paint pan pass play point press row run ski "
    "step stir surf tap work smok roll rock burn break brush bob ris com tak"
)
"""Verbs that are nouns as well, and count with an ending only."""
_MOVEMENT = re.compile(
    rf"\b(?:{'|'.join(_STEMS.split())})[a-z]?(?:s|ing|ed|es|e|y)?\b"
    rf"|\b(?:{'|'.join(_NOUN_STEMS.split())})[a-z]?(?:s|ing|ed|es)\b"
    r"|\b(?:motionless|still|nothing moves|motion|movement)\b"
    r"|[走跑移转动摇推拉飞跳挥摆举抬落升降滚滑游划骑驶开关伸弯吹飘流洒倒切搅吃喝说笑唱哭拍踢扔抓握眨跟随退进出入]"
)


def check_movement(text: str, variant: str) -> list[Finding]:
    """A finding where a `motion` variant names no movement, or dwells on colours."""
    requested = variant_of(variant)
    if requested is None or requested.length != MOTION:
        return []
    if not _MOVEMENT.search(text.lower()) and not camera_claims(text):
        return [Finding("motion", "tell what moves and how, not what things look like")]
    if len(colors := color_families(text)) > _MAX_COLORS:
        named = ", ".join(sorted(colors))
        return [Finding("motion", f"tell of movement alone, without looks ({named})")]
    return []

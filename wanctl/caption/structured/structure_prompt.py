"""The prompt of the structured pass: what each field of the structure means, and what is measured.

The system text is the same for all clips, so that servers compute it once.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from wanctl.caption.checks.facts import MeasuredFacts
from wanctl.caption.hints import hint_paragraphs
from wanctl.caption.structured.schema import CLIP_ID, FIELDS
from wanctl.vlm.chat import Frames

_INTRODUCTION = """\
You annotate clips for a data set on which video generation models are trained. You see the frames \
of one clip and describe it as a JSON object.

Rules:
- State what the frames show and nothing else: no sound, no intention, nothing from before or \
after the clip or outside the picture. Where you are not sure, leave it out.
- Name a person, a character, a brand or a landmark only where text in the picture or an \
unmistakable appearance tells the name. Do not guess nationality, relationship or profession.
- Left and right are those of the picture as the viewer sees it.
- Write English in every field but ocr_text. Write plain phrases without a full stop, not "the \
video shows".
- A list is empty where there is nothing of its kind. Name the same object by the same words in \
every field.
- The examples in brackets are of other clips.

Keys of the object:
"""

_DEFINITIONS: Mapping[str, str] = {
    "clip_id": "the clip's id, copied from the request",
    "subjects": "list; the main people, animals or things, the most important first, each as one "
    "noun phrase with what can be seen of it: kind, apparent age group, hair, clothes, material, "
    'shape ("an elderly man with a grey beard in a blue apron")',
    "action": "list; single movements or activities of a subject, one short clause each, with the "
    'subject ("the man kneads dough"). A pose counts where nothing moves. Not the camera\'s '
    "movement",
    "event": "list; what comes about in the course of the clip, in the order of time: a change of "
    'the situation that takes several actions or several subjects ("the dough slips off the table '
    'and a dog carries it away"). Empty where the situation stays the same',
    "camera_angle": "one of: eye level (level with the subject), high angle (looks down on it), "
    "low angle (looks up at it), overhead (straight down), aerial (from high in the air), ground "
    "level (just above the ground), dutch angle (tilted horizon), over the shoulder, point of view "
    "(through somebody's eyes), unclear",
    "camera_motion": "list, in the order of time, of: still (does not move), hand-held (shakes in "
    "no one direction), pan left, pan right, tilt up, tilt down (turns on the spot), zoom in, zoom "
    "out (magnifies without travelling), push in, pull out (travels forwards, backwards), truck "
    "left, truck right (travels sideways), pedestal up, pedestal down (travels vertically), roll "
    "(turns about its axis), arc (travels around the subject), tracking (travels along with a "
    "moving subject), unclear. When the camera goes left the background slides right. still only "
    "where it rests all the time; unclear stands alone",
    "object_category": "list; the kinds of things in the picture, people, animals, plants and "
    'vehicles included, as precisely as can be seen, singular, each once ("border collie", '
    '"rolling pin")',
    "object_color": 'list of {"object": ..., "color": ...}; the colours of the things that stand '
    "out, as plain colour words, with light, dark, pale or bright where it helps, several joined "
    'by "and" ("dark green", "black and white")',
    "object_counting": 'list of {"object": singular noun, "count": number}; how many of a kind are '
    "in the picture at the same time, at the moment with the most. Count one by one; the same one "
    "in two frames counts once. Leave out kinds that cannot be counted for certain",
    "ocr_text": "list; every string that can be read in the picture, letter by letter in its own "
    "language, script and case, one entry per line or sign, each once. Do not translate, correct "
    "or complete. Strings that text recognition read belong here",
    "scene": "one phrase; place, inside or outside, surroundings, season, weather and time of day "
    "as far as they can be seen",
    "style": "one phrase; the kind of picture (live-action footage, documentary, 2D animation, 3D "
    "animation, anime, stop motion, video game, screen recording, painting ...), the shot size "
    "(extreme close-up, close-up, medium shot, full shot, wide shot) and any treatment (black and "
    "white, slow motion, time-lapse, shallow depth of field, film grain)",
    "lighting": "one phrase; sources, direction, hardness and colour of the light",
    "mood": "one phrase of one to three adjectives; the atmosphere that light, colour and faces "
    "give",
}

_FINISH = """
Answer with this one JSON object, all keys in this order, and nothing before or after it."""


def structure_system(*, still: bool) -> str:
    """The system text of the structured pass.

    Args:
        still: of a still image, of which no camera motion is asked.
    """
    keys = [CLIP_ID, *(key for key in FIELDS if not still or key != "camera_motion")]
    lines = "\n".join(f"- {key}: {_DEFINITIONS[key]}" for key in keys)
    return f"{_INTRODUCTION}{lines}\n{_FINISH}"


def structure_text(
    clip_id: str, frames: Frames, facts: MeasuredFacts, *, still: bool, reasons: Sequence[str] = ()
) -> str:
    """The text that follows the frames.

    Args:
        clip_id: of the clip.
        frames: that precede the text.
        facts: measured of the clip.
        still: the clip is a still image.
        reasons: why the last answer was not accepted; empty for the first request.
    """
    parts = [f"Clip id: {clip_id}", _seen(frames, still), *hint_paragraphs(facts)]
    if reasons:
        listed = "\n".join(f"- {reason}" for reason in reasons)
        parts.append(
            f"Your last answer was not accepted:\n{listed}\nLook again and correct what is named."
        )
    return "\n\n".join([*parts, "Describe this clip as the JSON object."])


def _seen(frames: Frames, still: bool) -> str:
    if still:
        return "You see one still image. Nothing in it moves."
    times = frames.times_s
    if len(times) < 2:
        return "You see one frame of a clip."
    gaps = [later - earlier for earlier, later in pairwise(times)]
    if max(gaps) - min(gaps) < 0.25 * max(gaps):
        step = (times[-1] - times[0]) / len(gaps)
        when = f"one every {step:.2f} seconds from {times[0]:.1f} s to {times[-1]:.1f} s"
    else:
        when = f"at {', '.join(f'{time:.1f}' for time in times)} seconds"
    text = f"You see {len(times)} frames of the clip, {when}."
    if frames.one_size:
        return text
    return (
        f"{text} Every fourth frame is larger and shows the details; the frames of the two sizes "
        "are moments of one and the same clip."
    )

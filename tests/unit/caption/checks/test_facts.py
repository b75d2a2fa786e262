"""From the evidence of filters to facts: certain motions of the camera, and text that was read."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from wanctl.caption.camera import CAMERA_PHRASES, sure_camera_motions
from wanctl.caption.checks.facts import measured_facts, with_counts
from wanctl.caption.hints import hint_paragraphs
from wanctl.caption.structured.schema import CAMERA_MOTIONS
from wanctl.curate.registry import filter_class
from wanctl.video.frame_sampling import FrameSampler
from wanctl.video.frames import FrameBatch


def bursts(pan=(0, 0, 0), tilt=(0, 0, 0), zoom=(0, 0, 0), trust=1.0, gap_s=1.0):
    """Evidence of the motion filter: three bursts of four pairs at 25 fps, speeds per second."""
    spread = {"pan": pan, "tilt": tilt, "zoom": zoom, "roll": (0, 0, 0)}
    return {
        "pairs": [4, 4, 4],
        "time_s": [burst * gap_s + pair * 0.04 for burst in range(3) for pair in range(4)],
        "gap_s": [0.04] * 12,
        "trust": [trust] * 12,
        "textured": 1.0,
        **{name: [value * 0.04 for value in values for _ in range(4)]
           for name, values in spread.items()},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("motion", "expected"),
    [
        (bursts(), ("still",)),
        (bursts(pan=(0.1, 0.1, 0.1)), ("pan left",)),
        (bursts(pan=(-0.1, -0.05, -0.1), zoom=(0.1, 0.2, 0.1)), ("pan right", "zoom in")),
        (bursts(tilt=(0.1, 0.1, 0.1)), ("tilt up",)),
        (bursts(pan=(0.1, -0.1, 0.1)), None),
        (bursts(pan=(0.1, 0.1, 0.0)), None),
        (bursts(pan=(0.025, 0.025, 0.025)), None),
        (bursts(pan=(0.005, 0.005, 0.005)), None),
        (bursts(trust=0.3), None),
        (bursts(gap_s=4.0), None),
        ({**bursts(), "textured": 0.2}, None),
        ({"trust": [1.0]}, None),
        ({}, None),
    ],
)
def test_a_motion_of_the_camera_counts_where_it_is_certain(motion, expected):
    assert sure_camera_motions(motion) == expected
    assert set(expected or ()) <= set(CAMERA_MOTIONS)
    assert set(expected or ()) <= set(CAMERA_PHRASES)


def footage(step_x=0.0, step_y=0.0, growth=0.0):
    """60 frames of a texture seen by a camera that moves right, down and in by these steps."""
    random = np.random.default_rng(1)
    small = random.integers(20, 235, (50, 90), dtype=np.uint8)
    wide = cv2.resize(small, (900, 500), interpolation=cv2.INTER_CUBIC)
    frames = []
    for index in range(60):
        scale = (1 + growth) ** index
        x, y = 300 + index * step_x, 150 + index * step_y
        matrix = np.array([[scale, 0, 160 - scale * (x + 160)], [0, scale, 90 - scale * (y + 90)]])
        frames.append(cv2.warpAffine(wide, matrix, (320, 180)))
    return np.stack(frames)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ({}, ("still",)),
        ({"step_x": 2.0}, ("pan right",)),
        ({"step_x": -2.0}, ("pan left",)),
        ({"step_y": 2.0}, ("tilt down",)),
        ({"step_y": -2.0}, ("tilt up",)),
        ({"growth": 0.01}, ("zoom in",)),
        ({"growth": -0.005}, ("zoom out",)),
    ],
)
def test_directions_are_those_of_the_camera_that_filmed(steps, expected):
    filter_ = filter_class("motion")()
    frames = footage(**steps)
    sampler = FrameSampler(filter_.frames(), len(frames) / 24)
    chosen = [i for i in range(len(frames)) if sampler.samples(i / 24, (i + 1) / 24)]
    small = np.stack(
        [cv2.resize(frames[i], (192, 108), interpolation=cv2.INTER_AREA) for i in chosen]
    )
    clip = SimpleNamespace(width=320, height=180)
    motion = filter_.measure(clip, FrameBatch(small, np.array(chosen) / 24, 0.6))
    assert sure_camera_motions(motion) == expected


def line(left, top=10.0):
    return [left, top, left + 50, top, left + 50, top + 10, left, top + 10]


@pytest.mark.parametrize(
    ("ocr", "texts", "unread"),
    [
        ({}, None, False),
        ({"texts": [], "polygons": [[], []]}, (), False),
        ({"texts": ["EXIT"], "polygons": [[line(0)], [line(1)]]}, ("EXIT",), False),
        ({"texts": ["EXIT"], "polygons": [[line(0), line(100)], []]}, ("EXIT",), True),
        ({"texts": ["EXIT"], "polygons": [[line(0)], [line(40)]]}, ("EXIT",), True),
        ({"texts": ["EXIT"], "polygons": [[line(0)], [line(0, top=80)]]}, ("EXIT",), True),
    ],
)
def test_text_that_was_found_and_not_read_leaves_a_doubt(ocr, texts, unread):
    facts = measured_facts(2.0, {"ocr": ocr} if ocr else {})
    assert (facts.texts, facts.has_unread_text) == (texts, unread)


def test_facts_become_hints_in_words():
    evidence = {
        "motion": {**bursts(pan=(0.1, 0.1, 0.1)), "label": "camera"},
        "exposure": {"luma": [20.0]},
        "category": {"label": "vehicles"},
        "shot_size": {"label": "close-up"},
    }
    facts = with_counts(measured_facts(5.2, evidence), {"person": 2})
    assert facts.camera == ("pan left",)
    words = " ".join(hint_paragraphs(facts))
    for each in ("pans left", "dark", "vehicles", "close-up", "person", "5.2"):
        assert each in words
    assert measured_facts(0.0, evidence).camera is None

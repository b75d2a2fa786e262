"""A window with a subject: a red disc that moves over a still, textured ground."""

import cv2
import numpy as np
import pytest

from wanctl.train.dit.vace.kinds import KINDS, MASK_SHAPES
from wanctl.train.dit.vace.options import ControlOptions


def make_window(frames=9, height=64, width=96, seed=0):
    """(T, H, W, 3) uint8 and (T, H, W) bool, the disc."""
    rng = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(rng.normal(0, 60, (height, width)), (0, 0), 2) * 2 + 110
    ground = (ground[..., None] + (-20, 10, 0)).clip(0, 255)
    texture = cv2.GaussianBlur(rng.normal(0, 60, (height, width)), (0, 0), 1)
    y, x = np.mgrid[:height, :width]
    video = np.repeat(ground[None].astype(np.uint8), frames, axis=0)
    disc = np.zeros((frames, height, width), bool)
    for t in range(frames):
        left = round(width * 0.4) + t
        disc[t] = (x - left) ** 2 + (y - height // 2) ** 2 < (height // 5) ** 2
        moved = np.roll(texture, t, axis=1)
        video[t][disc[t]] = np.stack((215 + moved, 30 + moved, 40 + moved), axis=-1).clip(0, 255)[
            disc[t]
        ]
    return video, disc


@pytest.fixture(scope="session")
def window():
    return make_window()


def make_control_options(kinds=None, **changes):
    """All kinds at equal weights, or the named one alone."""
    names = (
        [n for n in KINDS if n != "control_video"]
        if kinds is None
        else [kinds]
        if isinstance(kinds, str)
        else kinds
    )
    defaults = {
        "kinds": dict.fromkeys(names, 1.0),
        "composite": 0.0,
        "references": 0.0,
        "max_references": 2,
        "mask_shapes": dict.fromkeys(MASK_SHAPES, 1.0),
        "mask_area": (0.03, 0.4),
        "control_videos": (),
    }
    return ControlOptions(**{**defaults, **changes})


@pytest.fixture(scope="session")
def control_options():
    return make_control_options

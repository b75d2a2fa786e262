"""Scripted captioners: one that looks, one that repeats, one that guesses; and clips for them."""

import json
import random
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from wanctl.caption.evaluation.counterfactual.changes import (
    STAR_RGB,
    STRINGS,
    detail_of,
    render_plate,
)
from wanctl.caption.structured.schema import CLIP_ID
from wanctl.video.frames import FrameBatch
from wanctl.vlm.chat import ChatAnswer, ChatRequest

HEIGHT, WIDTH, FRAMES, STEP_PX = 96, 128, 6, 4
HUES = {"red": 0, "orange": 30, "green": 120, "cyan": 180, "blue": 225, "pink": 325}
STILL_LIKE = {
    "subjects": ["a square"], "action": [], "event": [], "camera_angle": "unclear",
    "camera_motion": ["still"], "object_category": ["square"], "object_color": [],
    "object_counting": [], "ocr_text": [], "scene": "a grey room", "style": "computer animation",
    "lighting": "even light", "mood": "calm",
}  # fmt: skip


def clip_frames(number: int) -> FrameBatch:
    """A grey pattern that slides left or right, with one coloured square that slides along."""
    pick = np.random.default_rng(number)
    pattern = cv2.GaussianBlur(
        pick.integers(60, 200, (HEIGHT, 2 * WIDTH)).astype(np.uint8), (5, 5), 0
    )
    canvas = np.repeat(pattern[..., None], 3, axis=2)
    hue = [*HUES.values()][number % len(HUES)]
    color = cv2.cvtColor(np.uint8([[[hue * 256 // 360, 255, 230]]]), cv2.COLOR_HSV2RGB_FULL)[0, 0]
    canvas[30:60, WIDTH - 15 : WIDTH + 15] = color
    sign = 1 if number % 2 else -1
    starts = [WIDTH // 2 + sign * STEP_PX * index for index in range(FRAMES)]
    frames = np.stack([canvas[:, start : start + WIDTH] for start in starts])
    return FrameBatch(frames, np.arange(FRAMES) / 3, 1.0)


class _Scripted:
    name, parallel, batch = "scripted", 2, 3

    def __init__(self) -> None:
        self.requests: list[ChatRequest] = []

    def check(self) -> None: ...

    def close(self) -> None: ...

    def structure(self, request: ChatRequest) -> dict:
        raise NotImplementedError

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        self.requests += requests
        return [
            ChatAnswer(
                each.id,
                json.dumps({CLIP_ID: each.id.split("/")[0], **STILL_LIKE, **self.structure(each)}),
                "stop",
            )
            for each in requests
        ]


class Looks(_Scripted):
    """Measures colour, camera motion, number and text by simple image analysis."""

    def structure(self, request: ChatRequest) -> dict:
        assert request.frames is not None
        images = request.frames.images
        first, last = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (images[0], images[-1]))
        (shift, _), _ = cv2.phaseCorrelate(np.float32(first), np.float32(last))
        motion = "still" if abs(shift) < 2 else "pan left" if shift > 0 else "pan right"
        stars = self._stars(images[0])
        return {
            "camera_motion": [motion],
            "object_color": [{"object": "square", "color": self._color(images[0])}],
            "object_counting": [{"object": "star", "count": stars}] if stars else [],
            "ocr_text": self._read(images[0]),
        }

    @staticmethod
    def _stars(image: np.ndarray) -> int:
        near = np.abs(image.astype(int) - STAR_RGB).max(axis=2) < 50  # frames may come as JPEG
        yellow = near.astype(np.uint8)
        areas = cv2.connectedComponentsWithStats(yellow)[2][1:, cv2.CC_STAT_AREA]
        return int((areas > 40).sum())

    @staticmethod
    def _color(image: np.ndarray) -> str:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL).astype(int)
        strong = (hsv[..., 1] > 200) & (hsv[..., 2] > 180)
        hue = int(np.median(hsv[..., 0][strong])) * 360 / 256
        return min(HUES, key=lambda name: abs((HUES[name] - hue + 180) % 360 - 180))

    @staticmethod
    def _read(image: np.ndarray) -> list[str]:
        """The one rendered string that is in the picture, by comparing with each rendering."""
        white = (image > 245).all(axis=2).mean()
        if white < 0.05:
            return []
        distances = {}
        for string, plate in _plates(image.shape[1], image.shape[0]).items():
            top = image.shape[0] - plate.shape[0] - image.shape[0] // 20
            left = (image.shape[1] - plate.shape[1]) // 2
            part = image[top : top + plate.shape[0], left : left + plate.shape[1]]
            distances[string] = np.abs(part.astype(int) - plate).mean()
        return [min(distances, key=lambda string: distances[string])]


@lru_cache
def _plates(width: int, height: int) -> dict[str, np.ndarray]:
    """The renderings that the clips of the tests may get."""
    strings = {detail_of(f"{number:016x}").string for number in range(32)}
    return {string: render_plate(string, width, height) for string in sorted(strings)}


class Repeats(_Scripted):
    """Copies the first values that the prompt names, whatever the frames show."""

    def structure(self, request: ChatRequest) -> dict:
        assert "pan left" in request.system
        return {
            "camera_motion": ["pan left"],
            "object_color": [{"object": "square", "color": "red"}],
            "object_counting": [{"object": "star", "count": 3}],
            "ocr_text": ["BAKERY 10"],
            "action": ["a man goes to the left"],
            "event": ["the man comes", "the dog carries it away"],
        }


class Guesses(_Scripted):
    """Draws every value anew."""

    def __init__(self) -> None:
        super().__init__()
        self._pick = random.Random(3)

    def structure(self, request: ChatRequest) -> dict:
        pick = self._pick
        return {
            "camera_motion": [pick.choice(["pan left", "pan right", "still"])],
            "object_color": [{"object": "square", "color": pick.choice([*HUES])}],
            "object_counting": [{"object": "star", "count": pick.randint(1, 6)}],
            "ocr_text": [f"{pick.choice(STRINGS)} {pick.randint(10, 99)}"],
            "scene": pick.choice(["beach", "kitchen", "forest"]),
        }

"""Recipes of small video files: container, codec, clock fault, trailer, matrix, streams and so on.

Every frame carries its number as a row of black and white blocks, so that what was read can be
compared with what was written, whatever happened to it on the way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np

WIDTH, HEIGHT, FPS, TICKS = 96, 64, 25, 90_000
STEP = TICKS // FPS
FRAMES = 36
_BLOCK, _BITS = 12, 8

# ending -> (FFmpeg's muxer, codecs)
CONTAINERS = {
    "mp4": ("mp4", ("h264", "hevc", "mpeg4", "mpeg2video", "mjpeg", "vp9")),
    "mov": ("mov", ("h264", "mpeg4", "mjpeg", "mpeg2video")),
    "mkv": ("matroska", ("h264", "hevc", "mpeg4", "mpeg2video", "ffv1", "mjpeg", "vp8")),
    "webm": ("webm", ("vp8", "vp9")),
    "avi": ("avi", ("h264", "mpeg4", "mjpeg", "ffv1", "mpeg2video", "wmv2")),
    "ts": ("mpegts", ("h264", "hevc", "mpeg2video", "mpeg4")),
    "m2ts": ("mpegts", ("h264", "mpeg2video")),
    "mpg": ("vob", ("mpeg2video",)),
    "flv": ("flv", ("h264", "flv")),
    "wmv": ("asf", ("wmv2",)),
    "nut": ("nut", ("h264", "mpeg4", "ffv1")),
    "3gp": ("3gp", ("h264", "mpeg4")),
    "h264": ("h264", ("h264",)),
    "hevc": ("hevc", ("hevc",)),
    "m2v": ("mpeg2video", ("mpeg2video",)),
    "m4v": ("m4v", ("mpeg4",)),
}
RAW = ("h264", "hevc", "m2v", "m4v")
BOXED = ("mp4", "mov", "3gp")
PACKED = ("ts", "m2ts")
WITH_B = ("h264", "hevc", "mpeg4", "mpeg2video")
# display matrix (a, b, c, d), and how the upright frame is stored for it
MATRICES: dict[str, tuple[tuple[int, int, int, int], Callable[[np.ndarray], np.ndarray]]] = {
    "right": ((0, 1, -1, 0), lambda x: np.rot90(x, 1)),
    "half": ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
    "left": ((0, -1, 1, 0), lambda x: np.rot90(x, -1)),
    "left-right": ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
    "upside-down": ((1, 0, 0, -1), lambda x: x[::-1]),
    "transposed": ((0, 1, 1, 0), lambda x: x.swapaxes(0, 1)),
    "transversed": ((0, -1, -1, 0), lambda x: np.rot90(x.swapaxes(0, 1), 2)),
}
CLOCKS = (
    "plain", "gap", "hour", "varying", "jitter", "late", "early", "wrap", "joined", "same", "back"
)  # fmt: skip
TRAILERS = ("none", "zeros", "text", "maker", "noise")
STREAMS = ("one", "cover first", "cover last", "preview", "sound")
TAGS = ("none", "stale", "title")
# no checks in the bitstream: broken frames decode to something, without an error
UNCHECKED = ("hevc", "mjpeg", "vp8", "vp9", "wmv2", "flv")
DAMAGES = ("none", "begins late", "loses packets", "flipped", "cut")


@dataclass(frozen=True)
class Recipe:
    """What a file is made of; `str` of it names the test."""

    container: str
    codec: str
    b_frames: int = 0
    clock: str = "plain"
    trailer: str = "none"
    matrix: str = "none"
    streams: str = "one"
    tags: str = "none"
    damage: str = "none"

    def __str__(self) -> str:
        plain = ("none", "one", "plain")
        odd = (self.clock, self.trailer, self.matrix, self.streams, self.tags, self.damage)
        rest = [each.replace(" ", "-") for each in odd if each not in plain]
        return "-".join([self.container, self.codec, f"b{self.b_frames}", *rest])


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A frame (H, W, 3) uint8 that shows its number in its upper half, on a moving ground."""
    y, x = np.mgrid[:height, :width]
    ground = (60 + 40 * np.sin((x + 3 * number) / 9) + 40 * np.cos((y + number) / 7)).astype(int)
    frame = np.stack([ground, ground + 20, ground + 40], axis=-1)
    for bit in range(_BITS):
        lit = 235 if number >> bit & 1 else 16
        frame[4:28, bit * _BLOCK : (bit + 1) * _BLOCK] = lit
    frame[36:60, :24], frame[36:60, 72:] = 235, 16
    return frame.clip(0, 255).astype(np.uint8)


def number_of(frame: np.ndarray) -> int:
    """The number that an upright frame (H, W) or (H, W, 3) shows; -1 where it is not upright."""
    if frame.shape[:2] != (HEIGHT, WIDTH):
        return -1
    gray = frame if frame.ndim == 2 else frame.mean(axis=-1)
    if gray[40:56, 4:20].mean() < 160 or gray[40:56, 76:92].mean() > 90:
        return -1
    blocks = gray[8:24].reshape(16, _BITS, _BLOCK)[:, :, 3:9].mean(axis=(0, 2))
    return sum(1 << bit for bit, level in enumerate(blocks) if level > 125)


def recipes(count: int, seed: int = 12) -> list[Recipe]:
    """Distinct recipes, drawn at random from everything that can be made."""
    random, found = Random(seed), dict[Recipe, None]()
    while len(found) < count:
        container = random.choice(sorted(CONTAINERS))
        codec = random.choice(CONTAINERS[container][1])
        recipe = Recipe(
            container,
            codec,
            random.choice((0, 1, 2, 3)) if codec in WITH_B else 0,
            random.choice((*CLOCKS, "plain", "plain", "plain")),
            random.choice((*TRAILERS, "none", "none")),
            random.choice((*MATRICES, "none")) if container in BOXED else "none",
            random.choice((*STREAMS, "one", "one")),
            random.choice(TAGS),
            random.choice((*DAMAGES, "none", "none", "none", "none")),
        )
        if _possible(recipe):
            found[recipe] = None
    return list(found)


def _possible(recipe: Recipe) -> bool:
    container, raw = recipe.container, recipe.container in RAW
    allowed = {
        "joined": raw or container in (*PACKED, "mpg"),
        "wrap": container in PACKED,
        "early": container == "mkv",
        "late": not raw and container not in ("avi",),
        "hour": container in ("mkv", "webm", "flv", "ts", "m2ts", "nut"),
        "gap": not raw and container not in ("mpg", "avi"),
        "same": container == "mkv" or (container == "mp4" and recipe.b_frames > 0),
        "back": container == "mkv" and recipe.b_frames > 1,
        "varying": not raw and container not in ("avi", "mpg"),
        "jitter": not raw and container not in ("avi", "mpg"),
    }
    if not allowed.get(recipe.clock, True):
        return False
    if recipe.streams == "sound" and container not in ("mp4", "mov", "mkv", "ts", "flv", "avi"):
        return False
    if recipe.streams not in ("one", "sound") and container not in ("mp4", "mov", "mkv", "nut"):
        return False
    if recipe.damage == "begins late" and container not in (*PACKED, "mpg", "m2v", "h264"):
        return False
    if recipe.damage == "loses packets" and container not in PACKED:
        return False
    if recipe.damage != "none" and (recipe.clock != "plain" or recipe.trailer != "none"):
        return False
    # behind a raw stream, anything is a part of it
    return not (raw and recipe.trailer not in ("none", "zeros"))

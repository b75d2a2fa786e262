"""Drops clips that people would not find beautiful (CLIP ViT-L/14 + LAION aesthetic head)."""

from functools import cached_property
from typing import Any, ClassVar

from wanctl.curate.api import (
    Clip,
    Evidence,
    Field,
    Filter,
    FilterUnavailableError,
    FrameBatch,
    FrameSpec,
    Verdict,
    threshold,
)
from wanctl_filters._clip_files import find_clip, find_head

CLIP_REPO = "timm/vit_large_patch14_clip_224.openai"
HEAD_FILE = "sac+logos+ava1-l14-linearMSE.pth"


class Aesthetic(Filter):
    """LAION's aesthetic predictor v2 on OpenAI's CLIP embedding of single frames, about 1 to 10.

    Sees 224 pixels, so that compression and softness hardly count; says nothing about motion.
    Neither file is downloaded here: 1.7 GB should not start moving because a recipe names a filter.
    """

    heavy: ClassVar[bool] = True
    evidence: ClassVar[dict[str, str]] = {"scores": "floats"}

    samples: int = Field(default=4, ge=1, description="frames scored, spread over the clip")
    clip_model: str = Field(
        default="ViT-L-14-quickgelu",
        description="open_clip architecture of `clip_weights`, where that is a single file",
    )
    clip_weights: str = Field(
        default=CLIP_REPO,
        description="open_clip weights: a file, a folder with open_clip_config.json, or a hub id "
        "looked up in the hub's cache",
    )
    head_weights: str = Field(
        default=HEAD_FILE,
        description="the aesthetic head: a file, or a file name looked up in the torch hub's cache",
    )
    device: str = threshold(
        default="auto", description="where it runs: auto, cpu, cuda, cuda:N; not part of the hash"
    )
    min_mean: float = threshold(default=4.5, description="lowest mean score over frames kept")
    min_frame: float | None = threshold(
        default=None, description="lowest score of the worst frame kept; null sets no bound"
    )

    def frames(self) -> FrameSpec:
        """Colour; CLIP crops the central square of the shorter side."""
        return FrameSpec(count=self.samples, long_side_px=512)

    def check(self) -> None:
        """Look for both files."""
        clip, clip_places = find_clip(self.clip_weights)
        head, head_places = find_head(self.head_weights)
        if clip is None or head is None:
            places = [
                *(clip_places if clip is None else ()),
                *(head_places if head is None else ()),
            ]
            raise FilterUnavailableError(
                f"filter aesthetic: wants {self.clip_weights} (`hf download {CLIP_REPO} "
                f"open_clip_model.safetensors`) and "
                f"{self.head_weights} (from github.com/christophschuhmann/"
                f"improved-aesthetic-predictor); looked for {' and '.join(places)}; set "
                "`clip_weights`/`head_weights` to the files, or `optional: true` to go on without"
            )

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Score per frame."""
        import torch
        from PIL import Image

        assert frames is not None
        model, preprocess, layers, device = self._loaded
        images = torch.stack([preprocess(Image.fromarray(frame)) for frame in frames.frames])
        with torch.inference_mode():
            # The head was trained on embeddings of length one.
            values = model.encode_image(images.to(device), normalize=True).float()
            for weight, bias in layers:
                values = torch.nn.functional.linear(values, weight, bias)
        return {"scores": [round(float(value), 4) for value in values[:, 0]]}

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (self.min_mean,)

    def decide(self, clip: Clip, evidence: Evidence) -> Verdict:
        """The score is the mean over frames."""
        scores = evidence["scores"]
        mean, worst = sum(scores) / len(scores), min(scores)
        reason = ""
        if mean < self.min_mean:
            reason = f"scores {mean:.2f} on average, at least {self.min_mean:g} wanted"
        elif self.min_frame is not None and worst < self.min_frame:
            reason = f"its worst frame scores {worst:.2f}, at least {self.min_frame:g} wanted"
        return Verdict(keep=not reason, reason=reason, score=mean)

    @cached_property
    def _loaded(self) -> tuple[Any, Any, Any, Any]:
        """CLIP, its preprocessing, the head's (weight, bias) pairs, and the device."""
        from wanctl.device import pick_device
        from wanctl_filters._clip_files import load_clip, load_head

        self.check()
        device = pick_device(self.device)
        clip, _ = find_clip(self.clip_weights)
        head, _ = find_head(self.head_weights)
        assert clip is not None
        assert head is not None
        model, preprocess = load_clip(clip, self.clip_model, device)
        layers = load_head(head, device)
        width = layers[0][0].shape[1]
        if width != (size := _embedding_size(model)):
            raise FilterUnavailableError(
                f"filter aesthetic: {head} expects embeddings of {width} numbers, "
                f"{clip} makes {size}; `clip_weights` and `head_weights` must belong together"
            )
        return model, preprocess, layers, device


def _embedding_size(model: Any) -> int:
    return int(model.text_projection.shape[1])

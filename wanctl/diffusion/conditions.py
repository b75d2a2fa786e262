"""The conditions of a model besides noisy latents and a timestep, and its call with them.

Shapes: B batch, C channels, T latent frames, Y/X latent rows/columns, S text tokens, E text width,
I image tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from wanctl.diffusion.references import References
from wanctl.model.variants import DiTShape

Model = Callable[..., Tensor]
"""Velocity of (latents, timesteps, context, **conditions), e.g. a `WanModel`."""

WAN_FPS = 16  # models with two frame rates give this one the number 0, and others 1


@dataclass(frozen=True)
class DrivingVideo:
    """A video whose motion the output takes over (Animate 2).

    Attributes:
        latents: (B, 2C + 4, T, Y, X) fp32: its latents, then mask and latents as its condition.
        image: (B, I, E) CLIP's hidden states of its first frame.
        context: (B, S, E) embeddings of what it shows.
    """

    latents: Tensor
    image: Tensor
    context: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "DrivingVideo":
        """This video with changed tensors."""
        context = None if self.context is None else change(self.context)
        return DrivingVideo(change(self.latents), change(self.image), context)


@dataclass(frozen=True)
class Conditions:
    """Conditions passed to the model.

    All but the text, and what `negative` names, are equal for both prompts of guidance.

    Attributes:
        context: (B, S, E) fp32 text embeddings, zero rows after each text's last token.
        channels: (B, Cy, T, Y, X) fp32, concatenated to the latents (mask, then encoded frames).
        image: (B, I, E) hidden states of CLIP's vision tower.
        control: (B, 96, T, Y, X) fp32, VACE's context.
        control_scale: strength of the control.
        rays: (B, 24, T, H, W) fp32, rays of a camera path in four frames per latent frame.
        poses: (B, T, P) fp32, the camera's pose in each latent frame.
        face: (B, C, Y', X') fp32, latents of one face, of other sides than the video's (Stand-In).
        reference: (B, C, Y, X) fp32, latents of a reference picture, read as tokens.
        known: (B, C, T, Y, X) fp32 clean latents; they replace the noisy ones in `known_frames`,
            for which the model gets timestep 0 (TI2V).
        known_frames: (T,) bool, or (B, T) where items differ.
        references: latent frames beside those of the video.
        pose: (B, C, T, Y, X) fp32, latents of a pose video (Animate, S2V).
        performer: (B, 3, F, S, S) fp32 in [-1, 1], pictures of a performer's face, or the tokens
            that the model reads in them (Animate).
        frame_rate: (B, 1) int64, number of the frame rate among those that the model tells apart.
        speech: (B, S, E, F) fp32, S hidden states of an audio encoder in each frame of a clip, or
            the tokens that the model makes of them (S2V).
        before: (B, C, T, Y, X) fp32, latents of the frames before a clip (S2V).
        driving: a video whose motion the output takes over.
        first_frame_log_scale: of the attention to the output's first frame (Animate 2).
        skipped_blocks: numbers of blocks that are left out (Animate 2).
        sparsity: share of the blocks of keys that sparse attention leaves out.
        second_timestep: whether the model also takes where a step goes (MeanFlow).
        negative: attribute -> its value in the negative prompt's pass, where it has another.
    """

    context: Tensor
    channels: Tensor | None = None
    image: Tensor | None = None
    control: Tensor | None = None
    control_scale: float = 1.0
    rays: Tensor | None = None
    poses: Tensor | None = None
    face: Tensor | None = None
    reference: Tensor | None = None
    known: Tensor | None = None
    known_frames: Tensor | None = None
    references: References | None = None
    pose: Tensor | None = None
    performer: Tensor | None = None
    frame_rate: Tensor | None = None
    speech: Tensor | None = None
    before: Tensor | None = None
    driving: DrivingVideo | None = None
    first_frame_log_scale: float = 0.0
    skipped_blocks: tuple[int, ...] = ()
    sparsity: float | None = None
    second_timestep: bool = False
    negative: Mapping[str, Any] = field(default_factory=dict)

    def to(self, device: torch.device) -> "Conditions":
        """These conditions on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def with_context(self, context: Tensor) -> "Conditions":
        """These conditions with other text embeddings, (B, S, E)."""
        return replace(self, context=context)

    def with_frame_rate(self, dit: DiTShape, fps: float) -> "Conditions":
        """These conditions with the frame rate, in frames per second, if the model reads it."""
        if not dit.frame_rates:
            return self
        number = torch.tensor([[int(fps != WAN_FPS)]])
        return replace(self, frame_rate=number.expand(len(self.context), 1))

    def with_driving_context(self, context: Tensor) -> "Conditions":
        """These conditions with embeddings of what the driving video shows, (B, S, E)."""
        return replace(self, driving=self.driving and replace(self.driving, context=context))

    def for_negative(self, context: Tensor) -> "Conditions":
        """The conditions of the negative prompt, with its embeddings (B, S, E)."""
        return replace(self, **{"context": context, "negative": {}, **self.negative})

    def with_blank_references(self) -> "Conditions":
        """These conditions with zeros for the references."""
        return replace(self, references=self.references and self.references.blank())

    def repeated(self, count: int) -> "Conditions":
        """Conditions for one item, expanded to a batch of `count`."""
        return self._map(lambda t: t.expand(count, *t.shape[1:]) if t.ndim > 1 else t)

    def impose(self, latents: Tensor) -> Tensor:
        """Replace the known frames of latents, (B, C, T, Y, X)."""
        if self.known is None or self.known_frames is None:
            return latents
        places = self.known_frames
        places = places if places.ndim == 1 else places[:, None]  # a dimension for channels
        return torch.where(places[..., None, None], self.known, latents)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Conditions":
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        changed: dict[str, Any] = {
            name: change(v) for name, v in values.items() if isinstance(v, Tensor)
        }
        for name in ("references", "driving"):
            if values[name] is not None:
                changed[name] = values[name].map(change)
        if self.negative:
            changed["negative"] = {
                name: change(v) if isinstance(v, Tensor) else v for name, v in self.negative.items()
            }
        return replace(self, **changed)


def stacked(items: Sequence[Conditions]) -> Conditions:
    """Conditions of the same kind, one batch after the other in one batch."""
    first = items[0]

    def together(of: Callable[[Any], Tensor]) -> Tensor:
        return torch.cat([of(each) for each in items])

    changed: dict[str, Any] = {
        each.name: together(lambda item, name=each.name: getattr(item, name))
        for each in fields(first)
        if isinstance(value := getattr(first, each.name), Tensor) and value.ndim > 1
    }
    if first.references is not None:
        latents = together(lambda item: item.references.latents)
        changed["references"] = replace(first.references, latents=latents)
    return replace(first, **{"negative": {}, **changed})


def predict(
    model: Model,
    x: Tensor,
    timesteps: Tensor,
    conditions: Conditions,
    precomputed: Any = None,
    driving: Any = None,
    face: Any = None,
    following: Tensor | None = None,
) -> Tensor:
    """The model's velocity under conditions.

    Args:
        model: called with the conditions that are set, and no others.
        x: (B, C, T, Y, X) noisy latents.
        timesteps: (B,), or (1,) for the whole batch; 0 to 1000.
        conditions: for the same batch.
        precomputed: keys and values of text and image (see `CrossAttentionCache`), passed to
            the model in their place.
        driving: keys and values of the driving video (see `CrossAttentionCache`).
        face: keys and values of the face (see `CrossAttentionCache`).
        following: (1,) timestep of the next step, for models that take it; None: they do not.

    Returns:
        (B, C, T, Y, X) velocity; meaningless in known frames.
    """
    if conditions.known_frames is not None:
        x = conditions.impose(x)
        timesteps = timesteps.expand(len(x))[:, None] * ~conditions.known_frames
    references = conditions.references
    if references is not None:
        x, timesteps = references.join(x, timesteps)
    if conditions.channels is not None:
        x = torch.cat((x, conditions.channels), dim=1)
    more = _named(conditions, precomputed is not None)
    if driving is not None:
        more |= {
            "driving": driving,
            "skipped": conditions.skipped_blocks,
            "first_frame_log_scale": conditions.first_frame_log_scale,
        }
    if face is not None:
        more["face"] = face
    if following is not None:
        more["next_timesteps"] = following
    context = conditions.context if precomputed is None else precomputed
    v = model(x, timesteps, context, **more)
    return v if references is None else references.cut(v)


def _named(conditions: Conditions, precomputed: bool) -> dict[str, Any]:
    """The conditions that a model takes by name and that are set."""
    more: dict[str, Any] = {
        "image_BIE": None if precomputed else conditions.image,
        "control_BCTYX": conditions.control,
        "rays_BCTHW": conditions.rays,
        "poses_BTP": conditions.poses,
        "reference_BCYX": conditions.reference,
        "pose_BCTYX": conditions.pose,
        "face_BTJD": conditions.performer,
        "sparsity": conditions.sparsity,
        "frame_rate_B1": conditions.frame_rate,
        "speech_BTJD": conditions.speech,
        "before_BCTYX": conditions.before,
    }
    more = {name: value for name, value in more.items() if value is not None}
    if conditions.control is not None:
        more["control_scale"] = conditions.control_scale
    return more

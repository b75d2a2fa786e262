"""Requests as prompts of the vLLM engine: text with placeholders, and the frames themselves."""

from typing import Any

import numpy as np
from PIL import Image

from wanctl.vlm.chat import ChatError, ChatRequest, Frames
from wanctl.vlm.pixels import fit_pixels
from wanctl.vlm.transformers.interface import Interface

Part = dict[str, Any]

_TICKS = 1000  # of the clock in which a video's frames are counted, a second


def engine_prompt(request: ChatRequest, interface: Interface, max_pixels: int) -> dict[str, Any]:
    """The prompt of a request.

    Frames of one size are a video where the model takes videos, else pictures after their times.

    Args:
        request: of text and frames.
        interface: what the model takes.
        max_pixels: of a frame at most.

    Raises:
        ChatError: the model does not see.
    """
    frames = request.frames
    if frames is not None and not interface.sees:
        raise ChatError(
            f"model {interface.name}: takes text and no pictures; name one that sees "
            "(Qwen/Qwen2.5-VL-7B-Instruct, Qwen/Qwen3-VL-8B-Instruct)"
        )
    parts: list[Part] = []
    shown: dict[str, list[Any]] = {}
    if frames is not None:
        fitted = fit_pixels(frames, max_pixels)
        # a video has a pair of frames at least
        moments = len(fitted.times_s)
        if interface.takes_video and fitted.one_size and moments > 1:
            parts, shown = [{"type": "video"}], {"video": [_video(fitted)]}
        else:
            parts = _pictures(fitted)
            shown = {"image": [Image.fromarray(image) for image in fitted.images]}
    text = interface.processor.apply_chat_template(
        _messages(request, parts, interface),
        add_generation_prompt=True,
        tokenize=False,
        **interface.template_keys,
    )
    return {"prompt": text, "multi_modal_data": shown} if shown else {"prompt": text}


def _messages(request: ChatRequest, parts: list[Part], interface: Interface) -> list[Part]:
    text, system = request.text, request.system
    if system and not interface.takes_system:
        text, system = f"{system}\n\n{text}", ""
    roles = [("system", [_text(system)])] if system else []
    roles.append(("user", [*parts, _text(text)]))
    if interface.sees:
        return [{"role": role, "content": content} for role, content in roles]
    return [{"role": role, "content": content[0]["text"]} for role, content in roles]


def _pictures(frames: Frames) -> list[Part]:
    parts: list[Part] = []
    for number in range(len(frames.images)):
        if frames.is_video:
            parts.append(_text(f"{frames.times_s[number]:.2f} s: "))
        parts.append({"type": "image"})
    return parts


def _video(frames: Frames) -> tuple[np.ndarray, dict[str, Any]]:
    """(T, H, W, 3) uint8 and when its frames were, so that none is left out."""
    times = frames.times_s
    step = (times[-1] - times[0]) / (len(times) - 1)
    duration = (step or 1.0) * len(times)
    return np.stack(frames.images), {
        "fps": float(_TICKS),
        "duration": duration,
        "total_num_frames": round(duration * _TICKS),
        "frames_indices": [round(time * _TICKS) for time in times],
        "do_sample_frames": False,
    }


def _text(text: str) -> Part:
    return {"type": "text", "text": text}

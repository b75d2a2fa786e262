"""Turn requests into the tensors that a model takes.

A video is given with a clock of 1000 ticks a second, of which its frames are some: so that the
processor neither samples frames again nor guesses when they were. In transformers 5.23 Qwen2.5-VL
takes the seconds between frames from it (`second_per_grid_ts`), Qwen3-VL and SmolVLM write the time
of each moment into the prompt, others ignore it. Where the frames have two sizes (slow-fast
sampling), those of each size are a video of their own; a model that makes all frames one size
anyway (LLaVA-OneVision) gets one video.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from wanctl.vlm.chat import ChatError, ChatRequest, Frames
from wanctl.vlm.pixels import fit_pixels, one_size
from wanctl.vlm.schema_prompt import with_schema
from wanctl.vlm.transformers.interface import Interface

Kind = Literal["text", "images", "video"]
Part = dict[str, Any]

_TICKS = 1000


def kind_of(request: ChatRequest, interface: Interface) -> Kind:
    """What a request shows; requests of one forward pass are of one kind.

    Raises:
        ChatError: the model does not see.
    """
    if request.frames is None:
        return "text"
    if not interface.sees:
        raise ChatError(
            f"model {interface.name}: takes text and no pictures; name one that sees "
            "(Qwen/Qwen2.5-VL-7B-Instruct, Qwen/Qwen3-VL-8B-Instruct)"
        )
    if interface.takes_video and request.frames.is_video and len(request.frames.images) > 1:
        return "video"
    return "images"


def pixels_of(request: ChatRequest) -> int:
    """How much a request shows, in pixels."""
    images = request.frames.images if request.frames else ()
    return sum(image.shape[0] * image.shape[1] for image in images)


def length_of(request: ChatRequest, kind: Kind, interface: Interface) -> int:
    """Number of frames where only videos of the same length fit into one batch, else 0."""
    if kind != "video" or interface.any_size or request.frames is None:
        return 0
    return len(request.frames.images)


def encode(
    requests: Sequence[ChatRequest], kind: Kind, interface: Interface, max_pixels: int
) -> Any:
    """Token ids, masks and pixels of requests of one kind, padded on the left.

    Returns:
        A mapping of tensors on the CPU: `input_ids` and `attention_mask` are (B, L) integers.
    """
    conversations, clocks = [], []
    for request in requests:
        content: list[Part] = []
        if request.frames is not None:
            if not request.frames.images:
                raise ValueError("the request has no frames")
            frames = fit_pixels(request.frames, max_pixels)
            if kind == "video":
                content, clock = _videos(frames if interface.any_size else one_size(frames))
                clocks.append(clock)
            else:
                content = _images(frames)
        conversations.append(_messages(request, content, interface))
    settings: dict[str, Any] = {"padding": True}
    if interface.sees:
        if kind == "video":
            settings |= {"do_sample_frames": False, "video_metadata": clocks}
            # pixels are bounded already; None warns that this default of the library will change
            if getattr(interface.processor.video_processor, "cap_pixels_per_frame", 0) is None:
                settings["cap_pixels_per_frame"] = False
        settings = {"processor_kwargs": settings}
    if interface.sanitizes:
        settings["sanitize_control_tokens"] = True
    return interface.processor.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        **settings,
        **interface.template_keys,
    )


def _messages(request: ChatRequest, shown: list[Part], interface: Interface) -> list[Part]:
    text = request.text if request.schema is None else with_schema(request.text, request.schema)
    if not interface.takes_system and request.system:
        text = f"{request.system}\n\n{text}"
    system = request.system if interface.takes_system else ""
    if not interface.sees:
        messages = [{"role": "user", "content": text}]
        return [{"role": "system", "content": system}, *messages] if system else messages
    messages = [{"role": "user", "content": [*shown, _text(text)]}]
    return [{"role": "system", "content": [_text(system)]}, *messages] if system else messages


def _videos(frames: Frames) -> tuple[list[Part], list[dict[str, Any]]]:
    """Parts that show the frames as one video, or one for each size; and the clock of each."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, image in enumerate(frames.images):
        groups.setdefault(image.shape, []).append(number)
    parts, clocks = [], []
    for (height, width, *_), numbers in groups.items():
        # a video of one moment has it twice: models merge pairs of frames, and Qwen3-VL's
        # processor refuses less
        numbers = numbers * 2 if len(numbers) == 1 else numbers
        times = [frames.times_s[number] for number in numbers]
        size = f" of {width}x{height} pixels" if len(groups) > 1 else ""
        parts.append(_text(f"Frames{size} from {times[0]:.1f} s to {times[-1]:.1f} s:\n"))
        pixels = np.stack([_channels_first(frames.images[n]) for n in numbers])
        parts.append({"type": "video", "video": pixels})
        clocks.append(_clock(times))
    return parts, clocks


def _clock(times_s: Sequence[float]) -> dict[str, Any]:
    """Metadata of a video with `_TICKS` frames a second, from which the frames were taken."""
    span = times_s[-1] - times_s[0]
    between = span / (len(times_s) - 1) if span > 0 else 1.0
    duration = between * len(times_s)
    return {
        "fps": float(_TICKS),
        "total_num_frames": round(duration * _TICKS),
        "frames_indices": [round(time * _TICKS) for time in times_s],
        "duration": duration,
    }


def _images(frames: Frames) -> list[Part]:
    """Parts that show each frame as a picture, after its time where it has one."""
    parts = []
    for number, image in enumerate(frames.images):
        if frames.is_video:
            parts.append(_text(f"{frames.times_s[number]:.1f} s: "))
        parts.append({"type": "image", "image": _channels_first(image)})
    return parts


def _channels_first(image: np.ndarray) -> np.ndarray:
    """(3, H, W): processors guess which axis holds the colours and take the first for it."""
    return image.transpose(2, 0, 1)


def _text(text: str) -> Part:
    return {"type": "text", "text": text}

"""Find out what a model takes: everything but its weights is read by transformers."""

import inspect
from dataclasses import dataclass
from typing import Any

from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoProcessor,
    AutoTokenizer,
    ProcessorMixin,
)

from wanctl.log import log
from wanctl.vlm.chat import ChatError
from wanctl.vlm.transformers.folder import find_folder
from wanctl.vlm.transformers.reading import readable


@dataclass(frozen=True)
class Interface:
    """What a model takes.

    Attributes:
        name: as the recipe has it.
        config: of the model.
        processor: of frames and text; the tokenizer, where the model sees nothing.
        tokenizer: pads on the left.
        sees: whether it takes pictures.
        takes_video: whether it takes videos as such, and not only pictures.
        any_size: whether videos of one batch may differ in size and number of frames.
        takes_system: whether its chat template shows the system's message.
        template_keys: variables of the chat template that are set here.
        sanitizes: whether control tokens in what is asked can be read as plain text.
    """

    name: str
    config: Any
    processor: Any
    tokenizer: Any
    sees: bool
    takes_video: bool
    any_size: bool
    takes_system: bool
    template_keys: dict[str, Any]
    sanitizes: bool


def load_interface(model: str, *, trust_remote_code: bool) -> Interface:
    """Read everything but the weights.

    Args:
        model: a folder or a hub id.
        trust_remote_code: whether code that comes with the model is run.

    Raises:
        ChatError: it is no language model, or a file is missing or broken.
    """
    folder = find_folder(model, weights=False)
    with readable(model, "config.json", trust_remote_code):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    sees = _sees(model, config)
    kind = AutoProcessor if sees else AutoTokenizer
    what = "the processor of pictures and text" if sees else "the tokenizer"
    with readable(model, what, trust_remote_code):
        processor = kind.from_pretrained(folder, trust_remote_code=trust_remote_code)
    if sees and getattr(processor, "image_processor", None) is None:
        raise ChatError(
            f"model {model}: has no processor of pictures; need preprocessor_config.json beside "
            "config.json"
        )
    tokenizer = processor.tokenizer if sees else processor
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    template = _set_template(model, processor, tokenizer)
    # reasoning costs a thousand tokens and none of what is asked here needs it
    keys = {"enable_thinking": False} if "enable_thinking" in template else {}
    with readable(model, "the chat template", trust_remote_code):
        shown = _render(processor, _message("Q7", sees), "S7", keys)
        picture = _render(processor, [{"type": "image"}], "", keys) if sees else ""
    if "Q7" not in shown:
        raise ChatError(f"model {model}: its chat template does not show the user's text")
    if sees and getattr(processor, "image_token", "") not in picture:
        raise ChatError(f"model {model}: its chat template shows no pictures")
    return Interface(
        name=model,
        config=config,
        processor=processor,
        tokenizer=tokenizer,
        sees=sees,
        takes_video=sees and _takes_video(processor, keys),
        any_size=_any_size(processor),
        takes_system="S7" in shown,
        template_keys=keys,
        sanitizes=_sanitizes(processor, sees, keys),
    )


def _render(
    processor: Any, content: str | list[dict[str, Any]], system: str, keys: dict[str, Any]
) -> str:
    """The prompt of one message, as text; without the system's where the template refuses it."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if system:
        text = system if isinstance(content, str) else [{"type": "text", "text": system}]
        try:
            return processor.apply_chat_template(
                [{"role": "system", "content": text}, *messages],
                add_generation_prompt=True,
                tokenize=False,
                **keys,
            )
        except Exception:  # whatever a template raises on a role that it does not know
            log.debug("the chat template refuses a system's message")
    return processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=False, **keys
    )


def _message(text: str, sees: bool) -> str | list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if sees else text


def _sees(model: str, config: Any) -> bool:
    """Whether a config is that of a model that takes pictures and text and writes text."""
    own = getattr(config, "auto_map", None) or {}
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or "AutoModelForImageTextToText" in own:
        return True
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING or "AutoModelForCausalLM" in own:
        return False
    raise ChatError(
        f"model {model}: is a {getattr(config, 'model_type', 'model')!r}, which writes no text; "
        "need one that AutoModelForImageTextToText or AutoModelForCausalLM loads"
    )


def _set_template(model: str, processor: Any, tokenizer: Any) -> str:
    """Give the processor its chat template, from wherever the folder has it.

    Raises:
        ChatError: there is none.
    """
    template = getattr(processor, "chat_template", None) or tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise ChatError(
            f"model {model}: has no chat template (chat_template.jinja, chat_template.json, or the "
            "key chat_template in tokenizer_config.json); take a model tuned on instructions"
        )
    # transformers 5.23 puts each moment of a Qwen3-VL video between its own vision tokens and
    # leaves the template's around the whole; the published model was trained without the latter
    start = getattr(processor, "vision_start_token", None)
    if start is not None:
        video = processor.video_token
        template = template.replace(f"{start}{video}{processor.vision_end_token}", video)
    processor.chat_template = template
    return template


def _takes_video(processor: Any, keys: dict[str, Any]) -> bool:
    token = getattr(processor, "video_token", None)
    if getattr(processor, "video_processor", None) is None or token is None:
        return False
    return token in _render(processor, [{"type": "video"}], "", keys)


def _any_size(processor: Any) -> bool:
    """Whether videos become one list of patches, as Qwen's do; others stack them."""
    video_processor = getattr(processor, "video_processor", None)
    return "video_grid_thw" in getattr(video_processor, "model_input_names", ())


def _sanitizes(processor: Any, sees: bool, keys: dict[str, Any]) -> bool:
    """Whether the library reads `<|im_end|>` in a caption as plain text, for this tokenizer."""
    base = ProcessorMixin if sees else type(processor)
    if "sanitize_control_tokens" not in inspect.signature(base.apply_chat_template).parameters:
        return False
    messages = [{"role": "user", "content": _message("Q7", sees)}]
    try:
        processor.apply_chat_template(
            [messages], tokenize=True, return_dict=True, sanitize_control_tokens=True, **keys
        )
    except NotImplementedError:
        return False
    return True

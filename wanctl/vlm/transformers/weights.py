"""Read the weights of a model by transformers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.utils import logging as library_logging

from wanctl.log import log
from wanctl.vlm.chat import ChatError
from wanctl.vlm.transformers.folder import find_folder
from wanctl.vlm.transformers.interface import Interface
from wanctl.vlm.transformers.reading import readable

_SHOWN = 3
# set by a model's publisher for chats; what is asked here says its own temperature, and a penalty
# on repeated words would change the quoted text and the JSON keys that an answer has to repeat
_PUBLISHED_SAMPLING = (
    "temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff",
    "repetition_penalty", "no_repeat_ngram_size",
)  # fmt: skip


def load_model(
    interface: Interface, device: torch.device, dtype: torch.dtype, *, trust_remote_code: bool
) -> Any:
    """Read the weights.

    safetensors where there are any; a pickled file is read as tensors only (`weights_only`).

    Returns:
        The model on the device, without its publisher's settings of sampling.

    Raises:
        ChatError: a file is missing or broken, lacks tensors, or memory does not suffice.
    """
    name = interface.name
    folder = find_folder(name, weights=True)
    log.info("%s: loading on %s in %s", name, device, str(dtype).removeprefix("torch."))
    auto: Any = AutoModelForImageTextToText if interface.sees else AutoModelForCausalLM
    with readable(name, "the weights", trust_remote_code), _no_bars():
        model, report = auto.from_pretrained(
            folder,
            dtype=dtype,
            device_map={"": device} if device.type == "cuda" else None,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    if missing := sorted(report["missing_keys"]):
        raise ChatError(
            f"model {name}: its files lack {len(missing)} tensors "
            f"({', '.join(missing[:_SHOWN])}{', ...' * (len(missing) > _SHOWN)}); download it again"
        )
    settings = model.generation_config
    for key in _PUBLISHED_SAMPLING:
        setattr(settings, key, None)
    settings.do_sample = False
    settings.pad_token_id = interface.tokenizer.pad_token_id
    settings.eos_token_id = sorted(_end_ids(settings, interface.tokenizer))
    return model.eval()


def _end_ids(settings: Any, tokenizer: Any) -> set[int]:
    """Tokens that end an answer."""
    own = settings.eos_token_id
    ids = own if isinstance(own, list) else [own]
    return {token for token in (*ids, tokenizer.eos_token_id) if token is not None}


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the library's progress bars, which break up the log."""
    shown = library_logging.is_progress_bar_enabled()
    library_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            library_logging.enable_progress_bar()

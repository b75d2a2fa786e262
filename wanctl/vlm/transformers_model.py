"""A vision-language model in this process, by transformers: batches, memory, failures.

Its parts are in `wanctl/vlm/transformers/`.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from wanctl.device import free_device_memory, pick_device
from wanctl.errors import is_out_of_memory
from wanctl.escaping import one_line
from wanctl.log import log
from wanctl.vlm.chat import ChatAnswer, ChatError, ChatModelOptions, ChatRequest
from wanctl.vlm.transformers.decoding import SeededSampling, read_ending
from wanctl.vlm.transformers.interface import Interface, load_interface
from wanctl.vlm.transformers.prompts import Kind, encode, kind_of, length_of, pixels_of
from wanctl.vlm.transformers.weights import load_model

# what a reasoning model thinks aloud ends with it and is no part of the answer
_THOUGHTS_END = "</think>"
# two threads: one prepares its batch while the other's is computed
_PARALLEL = 2


@dataclass(frozen=True)
class _Failure:
    """What an exception said; the exception itself would keep the batch's tensors alive."""

    reason: str
    is_memory: bool


class TransformersModel:
    """Any model that AutoModelForImageTextToText or AutoModelForCausalLM loads.

    Requests of one forward pass show the same kind of thing and have the same limit of tokens.
    Where a batch does not fit into memory it is halved, for later calls too.

    Args:
        options: which model and how it is run.

    Raises:
        ChatError: no model is named.
    """

    def __init__(self, options: ChatModelOptions) -> None:
        if options.model is None:
            raise ChatError(
                "model: none is named; name a folder or a hub id (Qwen/Qwen2.5-VL-7B-Instruct)"
            )
        self.name: str = options.model
        self.parallel: int = _PARALLEL
        self.batch: int = options.batch
        self._options = options
        self._interface: Interface | None = None
        self._model: Any = None
        self._device = torch.device("cpu")
        self._batches: dict[Kind, int] = {}
        # tokenizers may not be used by two threads; nor may the model, whose memory is for one
        self._preparing = threading.Lock()
        self._computing = threading.Lock()

    def check(self) -> None:
        """Read everything but the weights.

        Raises:
            ChatError: the model is not there, or is none that answers.
            UserError: there is no such device.
        """
        pick_device(self._options.device)
        self._loaded_interface()

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """The answers, in the order of the requests.

        Raises:
            ChatError: the model cannot be loaded, does not see what it is shown, or its device
                fails.
        """
        interface = self._loaded_interface()
        groups: dict[tuple[Kind, int, int], list[int]] = {}
        for number, request in enumerate(requests):
            kind = kind_of(request, interface)
            key = kind, request.max_tokens, length_of(request, kind, interface)
            groups.setdefault(key, []).append(number)
        answers: dict[int, ChatAnswer] = {}
        for (kind, *_), numbers in groups.items():
            # alike in length: little padding; the longest first: memory fails early or never
            waiting = sorted(
                numbers, key=lambda n: (-pixels_of(requests[n]), -len(requests[n].text))
            )
            while waiting:
                size = self._batches.get(kind, self.batch)
                part, waiting = waiting[:size], waiting[size:]
                answered = self._answer([requests[n] for n in part], kind)
                answers.update(zip(part, answered, strict=True))
        return [answers[number] for number in range(len(requests))]

    def close(self) -> None:
        """Free the model."""
        with self._computing:
            self._model = None
            free_device_memory(self._device)

    def _answer(self, requests: list[ChatRequest], kind: Kind) -> list[ChatAnswer]:
        """The answers of one batch, or of its halves where it fails; a request alone fails."""
        result = self._try(requests, kind)
        if not isinstance(result, _Failure):
            return result
        if result.is_memory:
            free_device_memory(self._device)
        if len(requests) == 1:
            reason = result.reason
            if result.is_memory:
                reason = (
                    f"one request alone does not fit into the memory of {self._device} ({reason}); "
                    "show fewer frames (max_frames), or smaller ones (max_pixels)"
                )
            return [ChatAnswer(requests[0].id, "", "failed", error=reason)]
        half = len(requests) // 2
        if result.is_memory and half < self._batches.get(kind, self.batch):
            self._batches[kind] = half
            log.warning("%s: %d requests of %s do not fit into memory; from now on %d",
                        self.name, len(requests), kind, half)  # fmt: skip
        return self._answer(requests[:half], kind) + self._answer(requests[half:], kind)

    def _try(self, requests: list[ChatRequest], kind: Kind) -> list[ChatAnswer] | _Failure:
        """The answers of one batch, or why there are none.

        Raises:
            ChatError: the model cannot be loaded, or its device fails.
        """
        try:
            return self._generate(requests, kind)
        except ChatError:
            raise
        # Processors raise whatever they like on a picture that they cannot take; the other
        # requests are answered all the same.
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            if type(error) is not ValueError:
                reason = f"{type(error).__name__}: {reason}"
            failure = _Failure(one_line(reason), is_out_of_memory(error))
            # no later kernel on this device would succeed
            if "CUDA error" in reason and not failure.is_memory:
                raise ChatError(f"model {self.name}: {self._device} fails ({reason})") from None
        return failure

    def _generate(self, requests: list[ChatRequest], kind: Kind) -> list[ChatAnswer]:
        interface = self._loaded_interface()
        with self._preparing:
            inputs = encode(requests, kind, interface, self._options.max_pixels)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        self._check_length(max(lengths), requests[0].max_tokens)
        with self._computing, torch.inference_mode():
            model = self._loaded_model(interface)
            moved = {name: self._moved(name, value) for name, value in inputs.items()}
            sampling = SeededSampling(
                [request.temperature for request in requests],
                [request.seed for request in requests],
                self._device,
            )
            tokens = model.generate(
                **moved,
                max_new_tokens=requests[0].max_tokens,
                logits_processor=[sampling] if any(r.temperature for r in requests) else None,
            )
            start = inputs["input_ids"].shape[1]
            endings = [
                read_ending(row, model.generation_config.eos_token_id)
                for row in tokens[:, start:].cpu()
            ]
        with self._preparing:
            texts = [
                interface.tokenizer.decode(ending.ids, skip_special_tokens=True)
                for ending in endings
            ]
        return [
            ChatAnswer(
                id=request.id,
                text=text.rpartition(_THOUGHTS_END)[2].strip(),
                finish=ending.finish,
                input_tokens=length,
                output_tokens=len(ending.ids),
            )
            for request, text, ending, length in zip(requests, texts, endings, lengths, strict=True)
        ]

    def _moved(self, name: str, value: Any) -> Any:
        """An input on the device; pixels in the model's dtype, times as they are."""
        if not isinstance(value, torch.Tensor):
            return value
        pixels = name.startswith("pixel_values") and value.is_floating_point()
        return value.to(self._device, self._model.dtype if pixels else None)

    def _check_length(self, prompt: int, answer: int) -> None:
        """Raise ValueError where prompt and answer are longer than the model's positions."""
        assert self._interface is not None
        limit = getattr(self._interface.config.get_text_config(), "max_position_embeddings", None)
        if limit and prompt + answer > limit:
            raise ValueError(
                f"the prompt has {prompt} tokens, of frames most of them, and the answer up to "
                f"{answer}; the model takes {limit}: show fewer frames, or smaller ones"
            )

    def _loaded_interface(self) -> Interface:
        with self._preparing:
            if self._interface is None:
                trust = self._options.trust_remote_code
                self._interface = load_interface(self.name, trust_remote_code=trust)
            return self._interface

    def _loaded_model(self, interface: Interface) -> Any:
        if self._model is None:
            self._device = pick_device(self._options.device)
            self._model = load_model(
                interface,
                self._device,
                _dtype(self._options.dtype, self._device),
                trust_remote_code=self._options.trust_remote_code,
            )
        return self._model


def _dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 on a GPU and float32 on a CPU, where bfloat16 is slower."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return getattr(torch, name)

"""What a vision-language model is asked and what it answers, whatever runs it. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from wanctl.errors import UserError

Finish = Literal["stop", "length", "refused", "failed"]


class ChatError(UserError):
    """A model cannot be loaded or reached, or refuses every request."""


@dataclass(frozen=True)
class Frames:
    """Pictures that belong to a request.

    Attributes:
        images: (H, W, 3) uint8 RGB each, in order of time; sizes may differ (slow-fast sampling).
        times_s: seconds from the clip's first frame, one for each image; empty for still pictures.
    """

    images: tuple[np.ndarray, ...]
    times_s: tuple[float, ...]

    @property
    def is_video(self) -> bool:
        """Whether the images are moments of a video."""
        return bool(self.times_s)

    @property
    def one_size(self) -> bool:
        """Whether all images have the same height and width."""
        return len({image.shape for image in self.images}) == 1


@dataclass(frozen=True)
class ChatRequest:
    """One question, independent of all others.

    Attributes:
        id: returned with the answer.
        system: instruction that comes first; "" for none.
        text: what is asked.
        frames: what is shown before the text; None for a text-only request.
        schema: JSON schema of the answer, which is then a JSON object; None: free text. A backend
            constrains the answer where it can; the caller validates it in any case.
        max_tokens: length of the answer at most.
        temperature: 0 takes the likeliest token each time.
        seed: of sampling, where the backend takes one.
    """

    id: str
    system: str
    text: str
    frames: Frames | None
    schema: Mapping[str, Any] | None
    max_tokens: int
    temperature: float
    seed: int


@dataclass(frozen=True)
class ChatAnswer:
    """The answer to the request with the same id.

    Attributes:
        id: of the request.
        text: what the model wrote; "" where `finish` is `failed`.
        finish: why it ended: by itself, at the limit of tokens, by the server's content filter, or
            not at all, where every attempt failed.
        input_tokens: of prompt and frames; 0 where unknown.
        output_tokens: of the text; 0 where unknown.
        error: one line on what failed; "" where nothing did.
    """

    id: str
    text: str
    finish: Finish
    input_tokens: int = 0
    output_tokens: int = 0
    error: str = ""


@dataclass(frozen=True)
class ChatModelOptions:
    """A model and how it is run: the keys of the recipe's `ChatModelSection`.

    Attributes:
        backend: a row of CHAT_MODELS.
        model: folder, hub id, or the name under which a server has it.
        url: of an OpenAI-compatible server, up to and with `/v1`; None for the others.
        api_key_variable: environment variable that holds the key.
        parallel: requests in flight at the same time, of servers and engines that batch themselves.
        batch: requests of one forward pass, of `transformers`.
        timeout_s: for one answer.
        attempts: how often a request is tried at a server before it is given up.
        max_pixels: of one frame at most; larger ones are scaled down.
        dtype: `auto`, `bfloat16`, `float16` or `float32`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        trust_remote_code: whether code that comes with the model is run.
    """

    backend: str
    model: str | None
    url: str | None
    api_key_variable: str
    parallel: int
    batch: int
    timeout_s: float
    attempts: int
    max_pixels: int
    dtype: str
    device: str
    trust_remote_code: bool


class ChatModel(Protocol):
    """Protocol of a backend. `ask` may be called by `parallel` threads at the same time."""

    @property
    def name(self) -> str:
        """The model, as it is written to tables and logs: never a key or a password."""
        ...

    @property
    def parallel(self) -> int:
        """Calls of `ask` at the same time that keep the model busy."""
        ...

    @property
    def batch(self) -> int:
        """Requests of one call that keep the model busy."""
        ...

    def check(self) -> None:
        """Verify without loading weights that the model can run.

        Raises:
            ChatError: what is missing and how to get it.
        """
        ...

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """The answers, in the order of the requests.

        A request that fails has `failed` as its finish; the others are answered all the same.

        Raises:
            ChatError: no request can be answered: wrong URL or key, no vision, no memory.
        """
        ...

    def close(self) -> None:
        """Free the model, or close the connections."""
        ...


def is_local(model: str) -> bool:
    """Whether a model is a folder on this machine rather than a hub id."""
    return Path(model).expanduser().exists()

"""A request as the body of OpenAI's chat completions, and what the body of the answer says."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2

from wanctl.vlm.chat import ChatAnswer, ChatRequest, Finish, Frames
from wanctl.vlm.pixels import fit_pixels
from wanctl.vlm.schema_prompt import with_schema, without_thoughts

QUALITY = 90
"""Of JPEG, 0 to 100."""

_SHOWN = 200  # characters of an unreadable answer in an error
_FINISH: Mapping[Any, Finish] = {"length": "length", "content_filter": "refused"}
_SCHEMA_WORDS = re.compile(
    r"response_format|schema|structured output|guided|grammar|json mode", re.IGNORECASE
)


@dataclass(frozen=True)
class Features:
    """What of the protocol a server takes. Servers differ; the first refusal tells.

    Attributes:
        schema: how it is asked for JSON: by a schema that is marked strict (the paid API then
            guarantees it, but takes part of JSON Schema only), by one that is not, or in words.
        token_limit: key of the answer's length; newer models of the paid API renamed it.
        temperature: whether it may be set.
        seed: whether it may be set.
    """

    schema: Literal["strict", "loose", "prompt"] = "strict"
    token_limit: str = "max_tokens"
    temperature: bool = True
    seed: bool = True

    def without_refused(self, message: str, request: ChatRequest) -> "Features | None":
        """What to use after the server refused a request with this message; None: no idea."""
        if "max_completion_tokens' instead" in message and self.token_limit == "max_tokens":
            return replace(self, token_limit="max_completion_tokens")
        if self.temperature and _unsupported("temperature", message):
            return replace(self, temperature=False)
        if self.seed and _unsupported("seed", message):
            return replace(self, seed=False)
        if request.schema is None or self.schema == "prompt" or not _SCHEMA_WORDS.search(message):
            return None
        return replace(self, schema="loose" if self.schema == "strict" else "prompt")

    def lacks(self) -> str:
        """What the server does not take, for the log; "" where it takes everything."""
        schema = {"strict": "", "loose": "strict JSON schemas", "prompt": "JSON schemas"}
        lacks = [
            schema[self.schema],
            "" if self.temperature else "a temperature",
            "" if self.seed else "a seed",
        ]
        return ", ".join(each for each in lacks if each)


class UnreadableAnswerError(ValueError):
    """An answer with status 200 that is no chat completion: of a proxy, or cut off."""


def image_parts(frames: Frames | None, max_pixels: int) -> list[dict[str, Any]]:
    """The frames as JPEG images, each after its time: parts of a message.

    Images rather than a video, as every server that sees takes images; and they may differ in size.
    """
    if frames is None:
        return []
    fitted = fit_pixels(frames, max_pixels)
    parts: list[dict[str, Any]] = []
    for number, image in enumerate(fitted.images):
        if fitted.is_video:
            parts.append({"type": "text", "text": f"{fitted.times_s[number]:.2f} s:"})
        parts.append({"type": "image_url", "image_url": {"url": _jpeg(image)}})
    return parts


def request_body(
    model: str, request: ChatRequest, images: list[dict[str, Any]], features: Features
) -> dict[str, Any]:
    """The body of a request; text-only content is a string, which all servers take."""
    by_prompt = request.schema is not None and features.schema == "prompt"
    text = with_schema(request.text, request.schema or {}) if by_prompt else request.text
    content = [*images, {"type": "text", "text": text}] if images else text
    system = [{"role": "system", "content": request.system}] if request.system else []
    body = {
        "model": model,
        "messages": [*system, {"role": "user", "content": content}],
        features.token_limit: request.max_tokens,
    }
    if features.temperature:
        body["temperature"] = request.temperature
    if features.seed:
        body["seed"] = request.seed
    if request.schema is not None and not by_prompt:
        schema = {"name": "answer", "schema": request.schema, "strict": features.schema == "strict"}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def read_answer(request_id: str, body: str) -> ChatAnswer:
    """The answer in the body of a response.

    Raises:
        UnreadableAnswerError: the body is no chat completion, or one without a choice.
    """
    try:
        completion = json.loads(body)
    except ValueError:
        raise UnreadableAnswerError(f"the answer is not JSON: {shortened(body)}") from None
    choices = completion.get("choices") if isinstance(completion, dict) else None
    if not choices:
        raise UnreadableAnswerError(f"the answer has no choice: {shortened(body)}")
    message = choices[0].get("message") or {}
    usage = completion.get("usage") or {}
    finish = _FINISH.get(choices[0].get("finish_reason"), "stop")
    refusal = message.get("refusal")
    return ChatAnswer(
        id=request_id,
        text=refusal or without_thoughts(_text(message.get("content"))),
        finish="refused" if refusal else finish,
        input_tokens=usage.get("prompt_tokens") or 0,
        output_tokens=usage.get("completion_tokens") or 0,
    )


def shortened(text: str) -> str:
    """The begin of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _text(content: object) -> str:
    """Text of a message, whose content some servers send as a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _jpeg(image: Any) -> str:
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def _unsupported(name: str, message: str) -> bool:
    """Whether a server says that it does not take a parameter, or not this value of it."""
    words = r"(unsupported|not support|unknown|unrecognized|unexpected|not permitted)"
    quoted = rf"['\"`]?\b{name}\b['\"`]?"
    pattern = rf"{words}[^.]*{quoted}|{quoted}[^.]*{words}"
    return bool(re.search(pattern, message, re.IGNORECASE))

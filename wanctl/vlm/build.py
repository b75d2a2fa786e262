"""CHAT_MODELS: what can run a vision-language model, by the name that recipes use."""

from collections.abc import Callable

from wanctl.errors import unknown
from wanctl.vlm.chat import ChatError, ChatModel, ChatModelOptions


def _transformers(options: ChatModelOptions) -> ChatModel:
    from wanctl.vlm.transformers_model import TransformersModel  # noqa: PLC0415  (imports torch)

    return TransformersModel(options)


def _openai(options: ChatModelOptions) -> ChatModel:
    from wanctl.vlm.openai_model import OpenAIModel  # noqa: PLC0415  (needs `openai`)

    return OpenAIModel(options)


def _vllm(options: ChatModelOptions) -> ChatModel:
    from wanctl.vlm.vllm_model import VllmModel  # noqa: PLC0415  (needs `vllm`)

    return VllmModel(options)


CHAT_MODELS: dict[str, Callable[[ChatModelOptions], ChatModel]] = {
    "transformers": _transformers,
    "openai": _openai,
    "vllm": _vllm,
}


def build_chat_model(options: ChatModelOptions) -> ChatModel:
    """The model that a recipe names; nothing is loaded before the first request.

    Raises:
        ChatError: no backend has this name, or no model is named.
    """
    if options.backend not in CHAT_MODELS:
        raise ChatError(unknown("model backend", options.backend, CHAT_MODELS))
    return CHAT_MODELS[options.backend](options)

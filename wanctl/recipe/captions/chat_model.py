"""Keys that name a vision-language model and say how it is run."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wanctl.recipe.section import ContradictionError, Count, Seconds, Section


class ChatModelSection(Section):
    """A model that reads frames and text and writes text."""

    backend: Literal["transformers", "openai", "vllm"] = Field(
        default="transformers",
        description="`transformers`: in this process; `openai`: an OpenAI-compatible server (vLLM, "
        "SGLang, `transformers serve`, llama.cpp, a paid API); `vllm`: in this process, needs "
        "`wanctl[vllm]`",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="folder or hub id (Qwen/Qwen2.5-VL-7B-Instruct, Qwen/Qwen3-VL-8B-Instruct); "
        "with `openai` the name under which the server has it",
    )
    url: str | None = Field(
        default=None, description="with `openai`: of the server, e.g. http://127.0.0.1:8000/v1"
    )
    api_key_variable: str = Field(
        default="OPENAI_API_KEY",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="environment variable with the server's key; the key itself is written nowhere",
    )
    parallel: Count = Field(
        default=32, description="requests at the same time, with `openai` and `vllm`"
    )
    batch: Count = Field(
        default=8, description="requests of one forward pass, with `transformers`; halved where "
        "memory does not suffice"
    )  # fmt: skip
    timeout_s: Seconds = Field(default=300, description="for one answer of a server")
    attempts: Count = Field(
        default=6, description="tries of one request at a server, with growing pauses between them"
    )
    max_pixels: Count = Field(
        default=200_704, description="of one frame at most; larger ones are scaled down"
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto", description="`auto`: bfloat16 on a GPU, float32 on a CPU"
    )
    trust_remote_code: bool = Field(
        default=False, description="run Python code that comes with the model"
    )

    @model_validator(mode="after")
    def _url_of_a_server(self) -> Self:
        if self.url is not None and self.backend != "openai":
            raise ContradictionError("url", f"got a URL with `backend: {self.backend}`; `openai`")
        if self.backend == "openai" and self.model is not None and self.url is None:
            raise ContradictionError("url", "got null; `backend: openai` needs the server's URL")
        return self

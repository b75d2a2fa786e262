"""Keys of `train_dit.adapter`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from wanctl.recipe.section import Section

Rank = Annotated[int, Field(ge=1, le=8192)]
Alpha = Annotated[float, Field(gt=0, le=1e6)]


class TargetSection(Section):
    """Layers that get an adapter, and their own rank."""

    layers: str = Field(
        min_length=1,
        description="linear layers, by parts of their names with * within a part: `self_attn`, "
        "`blocks.*.ffn`, `blocks.[0-9].cross_attn.k`",
    )
    rank: Rank | None = Field(default=None, description="null: the adapter's `rank`")
    alpha: Alpha | None = Field(default=None, description="null: the adapter's `alpha`")


def _as_list(value: Any) -> Any:
    """Patterns alone, and patterns as the keys of a mapping, as a list of sections."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, dict):
        return [
            {"layers": layers, **own} if isinstance(own, dict) else {"layers": layers, "rank": own}
            for layers, own in value.items()
        ]
    if not isinstance(value, list | tuple):
        return value
    return [{"layers": each} if isinstance(each, str) else each for each in value]


Targets = Annotated[
    tuple[TargetSection, ...],
    BeforeValidator(
        _as_list,
        json_schema_input_type=str
        | tuple[str | TargetSection, ...]
        | dict[str, dict[Literal["rank", "alpha"], float]],
    ),
]


class AdapterSection(Section):
    """An adapter that is trained on a frozen transformer."""

    kind: Literal["lora", "rslora", "dora"] = Field(
        default="lora",
        description="`lora`: factor alpha/rank; `rslora`: alpha/sqrt(rank), for large ranks; "
        "`dora`: `lora` and a trained norm of each row",
    )
    rank: Rank = Field(default=32, description="rank of the change of each layer")
    alpha: Alpha | None = Field(default=None, description="numerator of the factor; null: the rank")
    targets: Targets = Field(
        default=(
            TargetSection(layers="blocks.*.self_attn"),
            TargetSection(layers="blocks.*.cross_attn"),
            TargetSection(layers="blocks.*.ffn"),
        ),
        min_length=1,
        description="layers that get an adapter: patterns, or `{layers, rank, alpha}` each, or "
        "`pattern: {rank, alpha}`; a layer belongs to the first that matches it",
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="share of the adapter's inputs set to zero in training"
    )
    base: Literal["keep", "bf16", "int8", "fp8", "nf4"] = Field(
        default="keep",
        description="format of the frozen weights: `keep` (fp32), `bf16`, or the blocks' matrices "
        "in 8 bits (`int8`, `fp8`) or 4.5 (`nf4`)",
    )
    layout: Literal["comfyui", "kohya", "diffusers", "peft"] = Field(
        default="comfyui",
        description="names in the file that is written: `comfyui` (ComfyUI and diffusers read it, "
        "DoRA ComfyUI alone), `kohya` (lora_unet_...), `diffusers`, `peft` (with its config)",
    )

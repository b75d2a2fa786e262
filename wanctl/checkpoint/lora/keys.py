"""Take the keys of a LoRA file apart: prefix, layer, adapter, and the role of the tensor.

Trainers differ in the prefix (`base_model.model.`, `transformer.`, `lora_unet_`, in any nesting),
in the names of layers (published or diffusers', with dots or underscores) and in the names of the
matrices. The keys themselves show which it is, so that none has to be chosen.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from wanctl.checkpoint.prefixes import without_wrappers

# The end of a key -> (family of spelling, role). Matrices of one family belong together; ADAPTER is
# the name that PEFT gives an adapter, or nothing.
_ADAPTER = r"(?:\.(?!weight$|bias$)(?P<adapter>[^.]+?))?"
ENDINGS = tuple(
    (re.compile(rf"(?P<layer>.+)[._]{pattern}"), family, role)
    for pattern, family, role in (
        (rf"lora_A{_ADAPTER}\.weight", "A and B", "down"),
        (rf"lora_B{_ADAPTER}\.weight", "A and B", "up"),
        (rf"lora_B{_ADAPTER}\.bias", "A and B", "up_bias"),
        (r"lora_A", "A and B", "down"),
        (r"lora_B", "A and B", "up"),
        (rf"lora_down{_ADAPTER}\.weight", "down and up", "down"),
        (rf"lora_up{_ADAPTER}\.weight", "down and up", "up"),
        (r"lora_up\.bias", "down and up", "up_bias"),
        (r"lora_mid\.weight", "down and up", "mid"),
        (r"lora\.down\.weight", "lora.down", "down"),
        (r"lora\.up\.weight", "lora.down", "up"),
        (r"lora_linear_layer\.down\.weight", "linear layer", "down"),
        (r"lora_linear_layer\.up\.weight", "linear layer", "up"),
        *((rf"lokr_{n}{_ADAPTER}", "lokr", n) for n in ("w1", "w1_a", "w1_b")),
        *((rf"lokr_{n}{_ADAPTER}", "lokr", n) for n in ("w2", "w2_a", "w2_b", "t2")),
        *(
            (rf"hada_{n}{_ADAPTER}", "loha", n)
            for n in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")
        ),
        (rf"lora_magnitude_vector{_ADAPTER}(?:\.weight)?", "", "magnitude"),
        (r"dora_scale", "", "dora_scale"),
        (r"alpha", "", "alpha"),
        (r"diff", "dense", "weight"),
        (r"diff_b", "dense", "bias"),
        (r"diff_m", "dense", "modulation"),
        (r"w_norm", "dense", "weight"),
        (r"b_norm", "dense", "bias"),
        (rf"modules_to_save{_ADAPTER}\.(?P<full>weight|bias|modulation)", "full", ""),
        (r"set_weight", "full", "weight"),
        (r"(?P<full>weight|bias|modulation)", "full", ""),
    )
)
# Kinds that are not applied, by a part of their keys.
OTHER_KINDS = {
    "boft_": "BOFT", "oft_": "OFT", "ia3_": "IA3", ".on_input": "IA3", "vera_": "VeRA",
    "lora_E": "AdaLoRA", "ranknum": "AdaLoRA", "lora_embedding": "an embedding's LoRA",
    "reshape_weight": "a LoRA that widens layers", ".a1.weight": "GLoRA", ".b1.weight": "GLoRA",
    "bora_scale": "BoRA", "fourierft_": "FourierFT", "hra_u": "HRA", "randlora_": "RandLoRA",
    "lambda_layer": "T-LoRA",
}  # fmt: skip
# Words before a transformer's layers, in any nesting.
PREFIX_WORDS = {
    "base_model", "model", "diffusion_model", "transformer", "unet", "pipe", "dit", "net",
    "network", "generator", "generator_ema", "ema", "student", "state_dict", "wan", "backbone",
    "denoiser", "lora", "lora_unet", "lycoris", "transformer_2", "high_noise_model",
    "low_noise_model", "high_noise", "low_noise", "dit_high", "dit_low", "high", "low", "wrapper",
}  # fmt: skip
UNDERSCORED = re.compile(
    r"(?:transformer_2|lora|lycoris|unet|transformer|diffusion_model|base_model|model|dit|wan|"
    r"module|orig_mod|(?:low|high)_noise_model|(?:low|high)_noise|_)_*"
)
# Wrappers' words inside names whose dots became underscores.
WRAPPED = re.compile(r"_(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=_)")
LOW_WORDS = {"transformer_2", "low_noise_model", "low_noise", "dit_low", "low"}
HIGH_WORDS = {"high_noise_model", "high_noise", "dit_high", "high"}
# Networks other than the transformer, by what begins their keys.
FOREIGN = re.compile(
    r"(?:.*[._])?(?P<name>text_encoder|lora_te\d?|te\d?|text_model|cond_stage_model|clip_[lg]|t5xxl|"
    r"umt5|vae|first_stage_model|controlnet|image_encoder|vision_model)[._]"
)
FOREIGN_NAMES = {
    "vae": "the VAE", "first_stage_model": "the VAE", "controlnet": "a ControlNet",
    "image_encoder": "the image encoder", "vision_model": "the image encoder",
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """One key of a file, taken apart.

    Attributes:
        layer: what stands before the role, as stored.
        family: spelling of the matrices; those of one family belong together.
        role: of the tensor, e.g. `down`, or a parameter's name for dense deltas.
        adapter: PEFT's name of the adapter; empty without one.
    """

    layer: str
    family: str
    role: str
    adapter: str = ""


@dataclass(frozen=True)
class Place:
    """Where a layer is: its official name, and what stands before it.

    Attributes:
        layer: official name.
        prefix: words before it.
        spelling: the name without prefix, as stored.
        experts: which expert the prefix names: `high`, `low` or nothing.
    """

    layer: str
    prefix: str
    spelling: str
    expert: str | None


def parse(key: str) -> Key | None:
    """The parts of a key; None for a role that is not known."""
    for pattern, family, role in ENDINGS:
        if match := pattern.fullmatch(key):
            groups = match.groupdict()
            return Key(match["layer"], family, groups.get("full") or role,
                       groups.get("adapter") or "")  # fmt: skip
    return None


def other_kind(key: str) -> str | None:
    """The name of a kind of adapter that is not applied; None for an unknown key."""
    return next((name for part, name in OTHER_KINDS.items() if part in key), None)


def foreign_network(key: str) -> str | None:
    """The network other than the transformer that a key belongs to."""
    match = FOREIGN.match(key)
    return FOREIGN_NAMES.get(match["name"], "a text encoder") if match else None


def find_layer(stored: str, names: Mapping[str, str]) -> Place | None:
    """Find the layer that a key names; None where the model has none of this name.

    Args:
        stored: layer as stored, with its prefix.
        names: every spelling of every layer -> its official name (`layer_names`).
    """
    parts = WRAPPED.sub("", without_wrappers(stored)).split(".")
    for start in range(len(parts)):
        rest = ".".join(parts[start:])
        spelling = rest if rest in names else _underscored(rest, names)
        if spelling is not None:
            prefix = ".".join(parts[:start])
            before = {*parts[:start], *_expert_words(rest.removesuffix(spelling))}
            expert = "low" if before & LOW_WORDS else "high" if before & HIGH_WORDS else None
            return Place(names[spelling], prefix, spelling, expert)
    return None


def is_known_prefix(prefix: str) -> bool:
    """Whether all words of a prefix are ones that wrap a transformer."""
    return all(word in PREFIX_WORDS for word in prefix.split(".") if word)


def _underscored(name: str, names: Mapping[str, str]) -> str | None:
    """The known spelling after words such as `lora_unet_`; only known words are taken off."""
    start = 0
    while match := UNDERSCORED.match(name, start):
        if match.end() == start:
            return None
        start = match.end()
        if name[start:] in names:
            return name[start:]
    return None


def _expert_words(before: str) -> set[str]:
    """Words of an underscored prefix that name an expert."""
    return {word for word in ("transformer_2", "low_noise", "high_noise") if f"{word}_" in before}

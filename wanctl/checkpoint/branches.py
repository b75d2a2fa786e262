"""Parts that some transformers have and others lack, and tensors of parts that a model lacks.

LoRAs and merged checkpoints of a model with an image branch are used on models without one; what is
left out is counted in one warning.
"""

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.log import warn_once

# Published names and those of diffusers, with dots or underscores -> the part.
BRANCHES = tuple(
    (re.compile(rf"(?:^|[._])(?:{names})(?:[._]|$)"), part)
    for names, part in (
        (
            "k_img|v_img|norm_k_img|add_k_proj|add_v_proj|norm_added_[kq]|img_emb|image_embedder",
            "the image branch",
        ),
        ("vace_blocks|vace_patch_embedding|before_proj|after_proj", "VACE"),
        ("face_adapter|face_encoder|motion_encoder|pose_patch_embedding", "Animate"),
        (
            "audio_injector|casual_audio_encoder|audio_cross_attn|audio_proj|cond_encoder|"
            "frame_packer|trainable_cond_mask",
            "speech",
        ),
        ("control_adapter|ref_conv|camera_encoder", "camera control"),
        ("proj_l", "sparse-linear attention"),
        ("to_gate_compress", "sparse attention"),
        ("time_embedding_r", "a second timestep"),
    )
)
# Tables that are computed, and counters of averages; no parameter.
UNUSED = re.compile(
    r"(?:^|\.)(?:freqs|freqs_(?:cos|sin)|rope\..+|rotary_emb\..+|inv_freq|num_updates|decay|"
    r"n_averaged|initted|step)$"
)
NAMES_SHOWN = 2


def branch_of(name: str) -> str | None:
    """The part of a transformer that a name belongs to; None for what all have."""
    return next((part for pattern, part in BRANCHES if pattern.search(name)), None)


def is_unused(name: str) -> bool:
    """Whether a tensor is a computed table or a counter, which no network needs."""
    return bool(UNUSED.search(name))


def lacking_parts(names: Iterable[str], known: Container[str]) -> dict[str, list[str]]:
    """Names of parts that a network lacks, by the part; other unknown names are not among them.

    Args:
        names: of stored tensors.
        known: names of the network's parameters.
    """
    parts: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if name not in known and (part := branch_of(name) or ("no network" * is_unused(name))):
            parts[part].append(name)
    return parts


def report_left_out(where: str, left_out: Mapping[str, Sequence[str]], *, strict: bool) -> None:
    """Count in one warning what is left out.

    Args:
        where: names the file.
        left_out: the part of the model that it lacks -> keys.
        strict: refuse instead.

    Raises:
        WeightsError: `strict`, and something is left out.
    """
    if not left_out:
        return
    count = sum(len(keys) for keys in left_out.values())
    parts = "; ".join(f"{len(keys)} of {part} ({_named(keys)})" for part, keys in left_out.items())
    if strict:
        raise WeightsError(
            f"{where}: {count} keys are of parts that the model lacks: {parts}; model.strict is "
            "true: set it to false to leave them out, or take the file for this model"
        )
    warn_once(  # both experts read the same files
        f"{where}: {count} keys are left out, of parts that the model lacks: {parts} "
        "(model.strict: true refuses such files)"
    )


def _named(keys: Sequence[str]) -> str:
    return ", ".join(keys[:NAMES_SHOWN]) + ", ..." * (len(keys) > NAMES_SHOWN)

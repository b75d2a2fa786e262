"""What tells transformers apart at any size: extra parts, and how many channels enter.

Published files are recognised by the digest of all names and shapes; trained and shrunken ones have
other sizes, but the same parts.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

from wanctl.checkpoint.registry.types import Structure
from wanctl.model.shapes import PATCH
from wanctl.model.variants import DiTShape

Shapes = Mapping[str, tuple[int, ...]]

CLIP, TWO_IMAGES, VACE = "CLIP branch", "positions of two images", "VACE blocks"
REFERENCE, CAMERA = "reference convolution", "camera adapter"
ANIMATE, ANIMATE_2 = "face and pose networks", "nested blocks"
SPEECH, TALK, MUSIC = "speech injector", "audio attention", "music injector"
RECAMERA, FRAME_RATE = "camera encoder in each block", "frame-rate embedding"
GATES, LINEAR_ATTENTION = "gates of sparse attention", "linear attention"
SECOND_TIMESTEP = "second timestep"
INT8 = "int8 matrices"

# Part -> how its tensors are named, by official names.
PARTS: Mapping[str, re.Pattern[str]] = {
    part: re.compile(pattern)
    for part, pattern in (
        (CLIP, r"img_emb\.proj\."),
        (TWO_IMAGES, r"img_emb\.emb_pos$"),
        (VACE, r"vace_blocks\."),
        (REFERENCE, r"ref_conv\."),
        (CAMERA, r"control_adapter\."),
        (ANIMATE, r"(face_adapter|face_encoder|motion_encoder|pose_patch_embedding)\."),
        (ANIMATE_2, r"blocks\.\d+\.block\."),
        (SPEECH, r"(audio_injector|casual_audio_encoder|cond_encoder|frame_packer)\."),
        (TALK, r"(audio_proj\.|blocks\.\d+\.audio_cross_attn\.)"),
        (MUSIC, r"(img_emb_refimage|music_)"),
        (RECAMERA, r"blocks\.\d+\.(cam_encoder|projector)\."),
        (FRAME_RATE, r"fps_(embedding|projection)\."),
        (GATES, r"blocks\.\d+\.(\w+\.)?to_gate_compress\."),
        (LINEAR_ATTENTION, r"blocks\.\d+\.self_attn\.attn_op\."),
        (SECOND_TIMESTEP, r"time_embedding_r\."),
        (INT8, r"blocks\..+\.int8_weight$"),
    )
}

# Part -> why a model with it is not run, whichever row it belongs to; the first one is reported.
NOT_RUN: Mapping[str, str] = {
    INT8: "its int8 matrices have no scales; take another file of it",
}


def layout_md5(shapes: Shapes, prefix: str = "") -> str:
    """Hex digits over the names and shapes of all tensors.

    Args:
        shapes: name -> shape.
        prefix: put before every name.
    """
    words = [
        word
        for name, shape in shapes.items()
        for word in (f"{prefix}{name}:{'_'.join(map(str, shape))}", f"{prefix}{name}")
    ]
    return hashlib.md5(",".join(sorted(words)).encode(), usedforsecurity=False).hexdigest()


def structure_of(shapes: Shapes) -> Structure | None:
    """The structure of a transformer; None where the tensors do not show one.

    Args:
        shapes: official name -> shape of all its tensors.
    """
    patches, head = shapes.get("patch_embedding.weight", ()), shapes.get("head.head.weight", ())
    volume = PATCH[0] * PATCH[1] * PATCH[2]
    if len(patches) < len(PATCH) or not head or head[0] < volume:
        return None
    outputs = head[0] // volume
    copies, mask_channels = divmod(patches[1], outputs)
    return Structure(copies, mask_channels, outputs, parts_of(shapes))


def parts_of(names: Iterable[str]) -> frozenset[str]:
    """Names of the PARTS whose tensors are among these official names."""
    names = list(names)
    return frozenset(part for part, named in PARTS.items() if any(map(named.match, names)))


def structure_of_shape(shape: DiTShape, optional: Iterable[str] = ()) -> Structure:
    """The structure of a transformer of these sizes; `optional` parts may be there as well."""
    copies, mask_channels = divmod(shape.in_channels, shape.out_channels)
    parts = {
        CLIP: shape.image_dim is not None,
        TWO_IMAGES: shape.image_tokens is not None,
        VACE: bool(shape.vace_layers),
        CAMERA: bool(shape.camera_channels),
        REFERENCE: bool(shape.reference_channels),
        RECAMERA: bool(shape.pose_numbers),
        ANIMATE_2: shape.driven,
        ANIMATE: shape.face is not None,
        SPEECH: shape.speech is not None,
        SECOND_TIMESTEP: shape.second_timestep,
        GATES: shape.sparse_attention == "vsa",
        LINEAR_ATTENTION: shape.sparse_attention == "sla",
        FRAME_RATE: bool(shape.frame_rates),
    }
    return Structure(
        copies,
        mask_channels,
        shape.out_channels,
        frozenset(part for part, present in parts.items() if present),
        frozenset(optional),
    )


def fits(structure: Structure, row: Structure) -> bool:
    """Whether a transformer of this structure may be one of a row's."""
    return (
        structure.parts - row.optional == row.parts
        and structure.copies == row.copies
        and structure.mask_channels == row.mask_channels
        and structure.latent_channels == row.latent_channels
    )

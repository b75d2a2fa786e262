"""Names and shapes of the tensors that each network has to hold, from its sizes."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from wanctl.checkpoint.branches import lacking_parts, report_left_out
from wanctl.checkpoint.configs import numbered
from wanctl.checkpoint.files.tensor_files import WeightsError, check_tensors
from wanctl.checkpoint.find import Components
from wanctl.checkpoint.load import read_dit_shape
from wanctl.checkpoint.networks import TEXT_ENCODER, TRANSFORMER, TRANSFORMER_2, VAE, StoredNetwork
from wanctl.checkpoint.pipeline_config import vae_shape
from wanctl.model.dit.networks import make_dit
from wanctl.model.vae.autoencoder import WanVAE

Shapes = dict[str, tuple[int, ...]]
# Of the published file with both halves of CLIP only the vision tower is used.
UNUSED = ("textual.", "log_scale", "visual.head")


def check_network(network: StoredNetwork, components: Components) -> None:
    """Compare the names and shapes of a stored network with those that its sizes require.

    Raises:
        WeightsError: they differ, or the sizes cannot be derived.
    """
    used = {name: shape for name, shape in network.shapes.items() if not name.startswith(UNUSED)}
    check_tensors(used, expected_shapes(network, components), str(network.files[0]))


def without_lacking(network: StoredNetwork, components: Components) -> StoredNetwork:
    """A transformer without tensors of parts that it lacks, which a warning counts.

    Loading leaves them out as well. Other networks, and those whose sizes cannot be derived, come
    back unchanged.
    """
    if network.name not in (TRANSFORMER, TRANSFORMER_2):
        return network
    try:
        expected = expected_shapes(network, components)
    except WeightsError:  # check_network says why
        return network
    left_out = lacking_parts(network.tensors, expected)
    report_left_out(str(network.files[0]), left_out, strict=False)
    dropped = {name for names in left_out.values() for name in names}
    used = {name: lazy for name, lazy in network.tensors.items() if name not in dropped}
    return replace(network, tensors=used)


def expected_shapes(network: StoredNetwork, components: Components) -> Shapes:
    """Official name -> shape of every tensor that a network has to hold.

    Raises:
        WeightsError: the sizes cannot be derived from the tensors.
    """
    if network.name in (TRANSFORMER, TRANSFORMER_2):
        transformer = components if network.name == TRANSFORMER else components.low_expert
        with torch.device("meta"):
            return _shapes(make_dit(read_dit_shape(transformer)))
    if network.name == VAE:
        shape = vae_shape(components, [network])
        assert shape is not None
        with torch.device("meta"):
            return _shapes(WanVAE(shape))
    try:
        return (
            text_shapes(network.shapes)
            if network.name == TEXT_ENCODER
            else image_shapes(network.shapes)
        )
    except KeyError as error:
        raise WeightsError(f"{network.files[0]}: no tensor {error} to get the sizes from") from None


def text_shapes(shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
    """Shapes of a umT5 encoder of the sizes that some of its tensors show."""
    vocabulary, width = shapes["token_embedding.weight"]
    inner = shapes["blocks.0.attn.q.weight"][0]
    hidden = shapes["blocks.0.ffn.fc1.weight"][0]
    out: Shapes = {"token_embedding.weight": (vocabulary, width), "norm.weight": (width,)}
    positions = shapes["blocks.0.pos_embedding.embedding.weight"]
    for number in range(numbered(shapes, "blocks.")):
        block = f"blocks.{number}"
        out |= {
            f"{block}.norm1.weight": (width,),
            f"{block}.norm2.weight": (width,),
            f"{block}.attn.q.weight": (inner, width),
            f"{block}.attn.k.weight": (inner, width),
            f"{block}.attn.v.weight": (inner, width),
            f"{block}.attn.o.weight": (width, inner),
            f"{block}.ffn.gate.0.weight": (hidden, width),
            f"{block}.ffn.fc1.weight": (hidden, width),
            f"{block}.ffn.fc2.weight": (width, hidden),
            f"{block}.pos_embedding.embedding.weight": positions,
        }
    return out


def image_shapes(shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
    """Shapes of CLIP's vision tower of the sizes that some of its tensors show."""
    width, channels, patch, _ = shapes["visual.patch_embedding.weight"]
    hidden = shapes["visual.transformer.0.mlp.0.weight"][0]
    out: Shapes = {
        "visual.cls_embedding": (1, 1, width),
        "visual.pos_embedding": (1, shapes["visual.pos_embedding"][1], width),
        "visual.patch_embedding.weight": (width, channels, patch, patch),
    }
    layers = {"visual.pre_norm": (width,), "visual.post_norm": (width,)}
    for number in range(numbered(shapes, "visual.transformer.")):
        block = f"visual.transformer.{number}"
        layers |= {f"{block}.norm1": (width,), f"{block}.norm2": (width,)}
        layers |= {f"{block}.attn.to_qkv": (3 * width, width), f"{block}.attn.proj": (width, width)}
        layers |= {f"{block}.mlp.0": (hidden, width), f"{block}.mlp.2": (width, hidden)}
    for layer, shape in layers.items():
        out |= {f"{layer}.weight": shape, f"{layer}.bias": shape[:1]}
    return out


def _shapes(network: torch.nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}

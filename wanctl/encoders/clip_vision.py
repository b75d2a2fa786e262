"""CLIP's vision tower (ViT-H/14), the image encoder of Wan 2.1's image-to-video models.

Imports transformers, which is slow; imported only where a model takes image tokens. The models use
the hidden state before the last block, so that block, the last norm and the projection are never
built. The text tower of the published file is not read.

Shapes: N images, H/W pixels, I image tokens (the class token first), E width.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPVisionModel

from wanctl.checkpoint.files.config_values import compare_sizes
from wanctl.checkpoint.files.finite import check_finite_weight
from wanctl.checkpoint.files.folders import weight_files
from wanctl.checkpoint.files.tensor_files import (
    WeightsError,
    check_tensors,
    iterate_tensors,
    tensor_names,
)
from wanctl.checkpoint.key_tables import IMAGE_KEYS, to_diffusers
from wanctl.checkpoint.prefixes import IMAGE_ENCODER, plain_names
from wanctl.encoders.stated_config import read_stated_config
from wanctl.model.variants import CLIP_PIXEL_MEAN, CLIP_PIXEL_STD

PREFIX = "vision_model."  # in files of older transformers
HEAD_DIM = 80  # cannot be read from the tensors


class ImageEncoder:
    """Images to hidden states."""

    def __init__(self, model: CLIPVisionModel, side: int) -> None:
        self._model = model
        self._side = side
        self.width: int = model.config.hidden_size

    @torch.no_grad()
    def __call__(self, images: Sequence[Tensor]) -> Tensor:
        """(3, H, W) fp32 in [-1, 1] of any size to (N, I, E) fp32."""
        weight = next(self._model.parameters())
        pixels = torch.stack([preprocessed(image, self._side) for image in images])
        hidden = self._model(pixels.to(weight)).last_hidden_state
        return hidden.float()


def preprocessed(image: Tensor, side: int) -> Tensor:
    """An image as the tower takes it: resized to a square, bicubic without antialiasing.

    The aspect ratio is not kept and nothing is cropped, as in the official code; diffusers crops
    the centre of an antialiased image.

    Args:
        image: (3, H, W) fp32 in [-1, 1].
        side: of the square, pixels.
    """
    square = F.interpolate(
        image[None].float(), size=(side, side), mode="bicubic", align_corners=False
    )[0]
    mean, std = (
        square.new_tensor(values)[:, None, None] for values in (CLIP_PIXEL_MEAN, CLIP_PIXEL_STD)
    )
    return (square * 0.5 + 0.5 - mean) / std


def load_image_encoder(
    path: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> ImageEncoder:
    """Load the published `.pth`, or a folder as transformers writes it.

    Args:
        path: file or folder.
        device: where it runs.
        dtype: of its weights; the published ones are made for fp16.

    Raises:
        WeightsError: files are missing, or their tensors are not those of the tower.
    """
    files = [path] if path.is_file() else list(weight_files(path, "model") or ())
    if not files:
        raise WeightsError(f"{path}: holds no model.safetensors")
    tensors = {name: tensor for file in files for name, tensor in _tensors(file)}
    where = str(files[0])
    stored = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    config_file = path / "config.json"
    if config_file.is_file():
        config = _stated_config(config_file, stored)
    else:
        config = config_from_tensors(stored, where)
    last = f"encoder.layers.{config.num_hidden_layers - 1}."
    config.num_hidden_layers -= 1
    with torch.device("meta"):
        model = CLIPVisionModel(config)
    model.post_layernorm = torch.nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    expected = {
        name.removeprefix(PREFIX): tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
    }
    used = {n: t for n, t in tensors.items() if not n.startswith((last, "post_layernorm."))}
    check_tensors({name: stored[name] for name in used}, expected, where)
    prefix = PREFIX if any(name.startswith(PREFIX) for name in model.state_dict()) else ""
    state = {prefix + name: tensor.to(device, dtype) for name, tensor in used.items()}
    for name, tensor in state.items():
        check_finite_weight(name, tensor, where)
    model.load_state_dict(state, strict=True, assign=True)
    for module in model.modules():  # constants that are in no file
        if "position_ids" in module._buffers:
            tokens = stored["embeddings.position_embedding.weight"][0]
            module._buffers["position_ids"] = torch.arange(tokens, device=device)[None]
    side = config.image_size
    assert isinstance(side, int)
    return ImageEncoder(model.eval(), side)


def config_from_tensors(shapes: Mapping[str, tuple[int, ...]], where: str) -> CLIPVisionConfig:
    """Sizes of a tower that comes without a config; heads are taken to be 80 wide.

    Raises:
        WeightsError: a tensor that gives a size is missing, or the width is no multiple of 80.
    """
    try:
        width, _, patch, _ = shapes["embeddings.patch_embedding.weight"]
        tokens = shapes["embeddings.position_embedding.weight"][0]
        hidden = shapes["encoder.layers.0.mlp.fc1.weight"][0]
    except KeyError as error:
        raise WeightsError(f"{where}: no tensor {error}; not CLIP's vision tower") from None
    if width % HEAD_DIM:
        raise WeightsError(
            f"{where}: width {width} is no multiple of {HEAD_DIM}; the number of heads is unknown"
        )
    layers = {name.split(".")[2] for name in shapes if name.startswith("encoder.layers.")}
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=len(layers),
        num_attention_heads=width // HEAD_DIM,
        image_size=patch * math.isqrt(tokens - 1),
        patch_size=patch,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
    )


def _stated_config(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> CLIPVisionConfig:
    """The config beside the weights, whose sizes are those of the tensors.

    Raises:
        WeightsError: not valid, or of another model.
    """
    config = read_stated_config(CLIPVisionConfig, path, "CLIP's vision tower")
    patch = shapes.get("embeddings.patch_embedding.weight", ())
    hidden = shapes.get("encoder.layers.0.mlp.fc1.weight", ())
    layers = {name.split(".")[2] for name in shapes if name.startswith("encoder.layers.")}
    stored: dict[str, object] = {"num_hidden_layers": len(layers)}
    stored |= {"hidden_size": patch[0], "patch_size": patch[-1]} if patch else {}
    stored |= {"intermediate_size": hidden[0]} if hidden else {}
    compare_sizes({key: getattr(config, key) for key in stored}, stored, str(path))
    return config


def _tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    """(transformers' name, tensor) of the vision tower in a file of either layout."""
    names = plain_names(tensor_names(file), IMAGE_ENCODER, str(file))
    for stored, tensor in iterate_tensors(file):
        name = names.get(stored, "")
        if not name.startswith("visual."):
            plain = name.removeprefix(PREFIX)
            used = plain.startswith(("embeddings.", "pre_", "encoder.", "post_"))
            if used and not plain.endswith("position_ids"):
                yield plain, tensor
            continue
        renamed = to_diffusers([name], IMAGE_KEYS)[name]
        if name.endswith("cls_embedding"):
            yield renamed, tensor.flatten()
        elif name.endswith("pos_embedding"):
            yield renamed, tensor[0]
        elif ".to_qkv." in renamed:
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                yield renamed.replace("to_qkv", f"{part}_proj"), piece
        elif renamed != name:  # not in the table: the projection to the text's space
            yield renamed, tensor

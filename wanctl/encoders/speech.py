"""The audio encoder of S2V, wav2vec2: a sound to the hidden states of all its layers.

Imports transformers, which is slow; imported only where a model reads speech.

Shapes: N samples, S layers and the input of the first, P times (50 a second), E width.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers.models.wav2vec2.configuration_wav2vec2 import Wav2Vec2Config
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model

from wanctl.checkpoint.files.config_values import compare_sizes
from wanctl.checkpoint.files.finite import check_finite_weight
from wanctl.checkpoint.files.folders import weight_files
from wanctl.checkpoint.files.tensor_files import (
    WeightsError,
    check_tensors,
    iterate_tensors,
    read_config,
)
from wanctl.encoders.stated_config import read_stated_config
from wanctl.model.variants import SPEECH_RATE

PREFIX = "wav2vec2."  # in files of models with a head, which is not used
MASK = "masked_spec_embed"  # used in training only
NORM_EPS = 1e-7
# weight_norm before and after it became a parametrization
RENAMED = (
    (re.compile(r"conv\.weight_g$"), "conv.parametrizations.weight.original0"),
    (re.compile(r"conv\.weight_v$"), "conv.parametrizations.weight.original1"),
)


class AudioEncoder:
    """Sounds to hidden states.

    Args:
        model: the network.
        normalize: bring sounds to mean 0 and deviation 1 first.
    """

    def __init__(self, model: Wav2Vec2Model, *, normalize: bool) -> None:
        self._model = model
        self._normalize = normalize
        self.width: int = model.config.hidden_size
        self.layers: int = model.config.num_hidden_layers + 1

    @torch.no_grad()
    def __call__(self, samples: np.ndarray) -> Tensor:
        """(S, P, E) fp32 of (N,) float32 samples at 16 kHz in [-1, 1]."""
        if self._normalize:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + NORM_EPS)
        sound = torch.from_numpy(samples.astype(np.float32))[None]
        sound = sound.to(next(self._model.parameters()))
        found = self._model(sound, output_hidden_states=True)
        # transformers 5 lists the last one before its norm, which the model was trained with
        return torch.cat((*found.hidden_states[:-1], found.last_hidden_state)).float()


def load_audio_encoder(path: Path, device: torch.device | str = "cpu") -> AudioEncoder:
    """Load a folder as transformers writes it, in fp32.

    Args:
        path: folder with `config.json` and the weights, with or without a head.
        device: where it runs.

    Raises:
        WeightsError: files are missing, or their tensors are not those of the config.
    """
    files = weight_files(path, "model")
    if not files:
        raise WeightsError(f"{path}: holds no model.safetensors")
    where = str(files[0])
    tensors = {name: tensor for file in files for name, tensor in _tensors(file)}
    stored = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    config = read_stated_config(Wav2Vec2Config, path / "config.json", "wav2vec2")
    layers = {name.split(".")[2] for name in stored if name.startswith("encoder.layers.")}
    norm = stored.get("encoder.layer_norm.weight", ())
    sizes: dict[str, object] = {"num_hidden_layers": len(layers)}
    sizes |= {"hidden_size": norm[0]} if norm else {}
    compare_sizes({key: getattr(config, key) for key in sizes}, sizes, str(path))
    with torch.device("meta"):
        model = Wav2Vec2Model(config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    expected.pop(MASK, None)
    check_tensors(stored, expected, where)
    state = {name: tensor.to(device, torch.float32) for name, tensor in tensors.items()}
    for name, tensor in state.items():
        check_finite_weight(name, tensor, where)
    if hasattr(model, MASK):
        state[MASK] = torch.zeros(config.hidden_size, device=device)
    model.load_state_dict(state, strict=True, assign=True)
    return AudioEncoder(model.eval(), normalize=_normalizes(path))


def _normalizes(path: Path) -> bool:
    """Whether sounds are normalised; those of another rate are not taken.

    Raises:
        WeightsError: the model hears another rate.
    """
    file = path / "preprocessor_config.json"
    stated = read_config(file) if file.is_file() else {}
    rate = stated.get("sampling_rate", SPEECH_RATE)
    if rate != SPEECH_RATE:
        raise WeightsError(f"{file}: hears {rate} samples per second; need {SPEECH_RATE}")
    return bool(stated.get("do_normalize", True))


def _tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    """(transformers' name, tensor) of the network without its head."""
    for stored, tensor in iterate_tensors(file):
        name = stored.removeprefix(PREFIX)
        for pattern, replacement in RENAMED:
            name = pattern.sub(replacement, name)
        if name.startswith(("feature_", "encoder.")):
            yield name, tensor

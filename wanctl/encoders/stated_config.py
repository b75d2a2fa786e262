"""The config.json beside the weights of an encoder, as transformers reads it."""

from pathlib import Path
from typing import TypeVar

from transformers.configuration_utils import PretrainedConfig

from wanctl.checkpoint.files.tensor_files import WeightsError, read_config

Config = TypeVar("Config", bound=PretrainedConfig)


def read_stated_config(kind: type[Config], path: Path, network: str) -> Config:
    """Read a config.json as an object of transformers.

    Args:
        kind: class of the config.
        path: of the config.json.
        network: names what it is a config of, for the error.

    Raises:
        WeightsError: no JSON object, or values that transformers refuses.
    """
    content = read_config(path)
    try:
        config = kind.from_dict(content)
    except Exception as error:  # transformers checks values by several libraries
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: no config of {network} ({reason})") from None
    assert isinstance(config, kind)
    return config

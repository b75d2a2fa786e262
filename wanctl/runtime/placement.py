"""How a loaded transformer is put on its device: number format, kernels, where its blocks lie."""

from dataclasses import dataclass

import torch

from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.runtime.attention_kernels import get_kernel
from wanctl.runtime.quantize import check_device
from wanctl.runtime.streaming import stream_blocks


@dataclass(frozen=True)
class Placement:
    """What a recipe says about it; the defaults change nothing.

    Attributes:
        attention: a name of attention.py.
        quantize: a kind of quantize.py that the model is loaded in; None: as stored.
        compile: compile the blocks.
        stream_blocks: leave the blocks on the host.
    """

    attention: str = "auto"
    quantize: str | None = None
    compile: bool = False
    stream_blocks: bool = False

    def loading_device(self, device: torch.device) -> torch.device:
        """Where the model is to be loaded: not where it does not fit."""
        return torch.device("cpu") if self.stream_blocks else device

    def check(self, device: torch.device, dtype: torch.dtype) -> None:
        """Look everything up before anything is loaded.

        Raises:
            UserError: a kernel or a format is not to be had here.
        """
        get_kernel(self.attention, device, dtype)
        if self.quantize:
            check_device(self.quantize, device, dtype)

    def place(
        self, model: WanModel, device: torch.device, runs_on: torch.device, dtype: torch.dtype
    ) -> WanModel:
        """Bring a model from where it was loaded to `device`.

        Args:
            model: as loaded.
            device: where it is wanted; the host, if processes are going to divide it.
            runs_on: where it will compute.
            dtype: of its large matrices.

        Raises:
            UserError: a kernel or a format is not to be had here.
        """
        kernel, name = get_kernel(self.attention, runs_on, dtype)
        if runs_on.type != "cpu" or self.attention != "auto":
            log.info("attention: %s", name)
        if self.attention != "auto":
            model.attend_with(kernel)
        if self.stream_blocks and device.type == "cuda":  # elsewhere blocks are on the host anyway
            stream_blocks(model, device)
        else:
            model.to(device)
        return model.compile_blocks() if self.compile else model

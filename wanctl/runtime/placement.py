"""Put a loaded transformer on its device: number format, kernels, location of its blocks."""

from dataclasses import dataclass

import torch

from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.runtime.attention_kernels import get_kernel
from wanctl.runtime.quantize import check_device
from wanctl.runtime.streaming import stream_blocks


@dataclass(frozen=True)
class Placement:
    """How a transformer runs on its device; the defaults change nothing.

    Attributes:
        attention: a name of attention_kernels.py.
        quantize: a kind of quantize.py to load the model in; None: as stored.
        compile: whether to compile the blocks.
        stream_blocks: whether the blocks stay in host memory.
    """

    attention: str
    quantize: str | None
    compile: bool
    stream_blocks: bool

    def loading_device(self, device: torch.device) -> torch.device:
        """The device to load the model on: the host where its blocks stay there."""
        return torch.device("cpu") if self.stream_blocks else device

    def check(self, device: torch.device, dtype: torch.dtype) -> None:
        """Check the kernel and the format before anything is loaded.

        Raises:
            UserError: a kernel or a format is not available on this machine.
        """
        get_kernel(self.attention, device, dtype)
        if self.quantize:
            check_device(self.quantize, device, dtype)

    def place(
        self, model: WanModel, device: torch.device, runs_on: torch.device, dtype: torch.dtype
    ) -> WanModel:
        """Move a model from where it was loaded to `device`, with its kernel.

        Args:
            model: as loaded.
            device: where it goes; the host, if FSDP will shard it from there.
            runs_on: where it will compute.
            dtype: of its large matrices.

        Raises:
            UserError: a kernel or a format is not available on this machine.
        """
        kernel, name = get_kernel(self.attention, runs_on, dtype)
        if runs_on.type != "cpu" or self.attention != "auto":
            log.info("attention: %s", name)
        if self.attention != "auto":
            model.attend_with(kernel)
        if (
            self.stream_blocks and device.type == "cuda"
        ):  # on the CPU they are in host memory anyway
            stream_blocks(model, device)
        else:
            model.to(device)
        return model.compile_blocks() if self.compile else model

"""FSDP2: each process keeps a shard of the weights and gathers a block when it runs.

A block's weights are gathered shortly before it runs and freed after. Nothing is cast: a parameter
keeps the dtype that the model sets for it (large products in half precision; norms, modulation,
time and head in fp32). Vectors and tables of a few rows are replicated, so that every group of
gathered weights has one dtype.
"""

from itertools import pairwise

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from wanctl.model.dit.transformer import WanModel


def apply_fsdp(model: WanModel, mesh: DeviceMesh) -> WanModel:
    """Shard every large weight between the processes of a one-dimensional mesh.

    The model may still be on the CPU: block after block is moved to the mesh's device and sharded,
    so that a device never holds more than its shard and one block.
    """
    for vace_block in getattr(model, "vace_blocks", ()):
        for layer in (vace_block.before_proj, vace_block.after_proj):
            if layer is not None:  # they run outside the block's own forward pass
                _shard(layer, mesh)
    blocks = [*getattr(model, "vace_blocks", ()), *model.blocks]  # in the order they run
    for block in blocks:
        _shard(block, mesh)
    for fp32_part in (model.time_embedding, model.time_projection, model.head):
        _shard(fp32_part, mesh)
    _shard(model, mesh)
    for block, after in pairwise(blocks):
        assert isinstance(block, FSDPModule)
        assert isinstance(after, FSDPModule)
        block.set_modules_to_forward_prefetch([after])
    # It would need the weights of all blocks outside their forward passes.
    model.can_precompute_cross_attention = False
    return model


def _shard(module: nn.Module, mesh: DeviceMesh) -> None:
    small = {p for p in module.parameters() if not isinstance(p, DTensor) and _is_small(p, mesh)}
    for parameter in small:
        parameter.data = parameter.data.to(mesh.device_type)
    fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=small)


def _is_small(parameter: nn.Parameter, mesh: DeviceMesh) -> bool:
    return parameter.ndim < 2 or parameter.shape[0] < mesh.size()

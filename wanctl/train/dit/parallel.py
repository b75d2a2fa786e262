"""Groups of processes that compute each sample of a transformer together."""

from collections.abc import Mapping

from wanctl.distributed.layout import Layout, check_heads
from wanctl.errors import ProblemsError
from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.train.accelerator import Processes

SECTION = "train_dit.parallel"


def group_processes(processes: Processes, ulysses: int, ring: int, heads: int) -> Processes:
    """The processes of a run as groups that have a batch each.

    Args:
        processes: of the run.
        ulysses: processes of a group that divide the heads.
        ring: processes of a group that pass keys and values around.
        heads: of the transformer.

    Raises:
        ProblemsError: the groups cannot be made of these processes, or do not divide the heads.
    """
    size = ulysses * ring
    check_heads(f"{SECTION}.ulysses", ulysses, heads, f"{SECTION}.ring")
    if processes.count % size:
        one = "1 process runs" if processes.count == 1 else f"{processes.count} processes run"
        raise ProblemsError([(
            SECTION,
            f"got ulysses {ulysses} x ring {ring}, groups of {size} processes, and {one}; start a "
            f"multiple of {size} with `torchrun --nproc-per-node N -m wanctl train-dit ...`",
        )])  # fmt: skip
    return processes.in_groups(size)


def check_tokens(groups: Processes, buckets: Mapping[str, tuple[int, int, int]]) -> None:
    """Check that each process of a group gets tokens of each frame.

    Args:
        groups: from `group_processes`.
        buckets: name -> latent frames, rows and columns, in tokens.

    Raises:
        ProblemsError: a bucket's frames have fewer tokens than a group processes.
    """
    for name, (_, rows, columns) in buckets.items():
        if rows * columns < groups.group:
            raise ProblemsError([(
                SECTION,
                f"bucket {name} has {rows * columns} tokens a frame, and {groups.group} processes "
                "share them; use larger buckets or smaller groups",
            )])  # fmt: skip


def share_tokens(models: Mapping[str, WanModel], groups: Processes, ulysses: int) -> None:
    """Shard the tokens of each sample between the processes of a group, in place.

    Args:
        models: with their adapters.
        groups: from `group_processes`.
        ulysses: processes of a group that divide the heads.
    """
    if groups.group == 1:
        return
    # 3 s of imports, which a single process does not pay
    from wanctl.distributed.mesh import make_mesh  # noqa: PLC0415
    from wanctl.distributed.torch_context import apply_context_parallel  # noqa: PLC0415

    layout = Layout(data=groups.count, ulysses=ulysses, ring=groups.group // ulysses)
    mesh = make_mesh(layout, groups.device.type)
    for model in models.values():
        apply_context_parallel(model, mesh)
    if groups.is_main:
        log.info("train-dit: %s", layout)

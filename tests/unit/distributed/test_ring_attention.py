"""Attention in parts is attention."""

import pytest
import torch

from wanctl.distributed.ring_attention import (
    PartialSoftmax,
    _attend_plain,
    _backward_plain,
    attend_partial,
    attend_partial_backward,
    merge,
)
from wanctl.model.dit.attention import attention

# Measured 9.5e-7; of logarithms around 50, and so of weights, fp32 keeps 4e-6: measured 1.4e-5.
TOLERANCES = {1.0: 2e-6, 30.0: 3e-5}


def drawn(seed, *shape, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", TOLERANCES, ids=["soft", "sharp"])
@pytest.mark.parametrize("cuts", [(17,), (1, 16), (5, 1, 11), (4, 4, 4, 5)])
def test_partial_softmaxes_merge_exactly(cuts, scale):
    q, k, v = (
        drawn(0, 2, 7, 3, 8, scale=scale), drawn(1, 2, 17, 3, 8), drawn(2, 2, 17, 3, 8, scale=2)
    )  # fmt: skip
    parts = [
        attend_partial(q, some_k, some_v)
        for some_k, some_v in zip(k.split(cuts, 1), v.split(cuts, 1), strict=True)
    ]
    merged = parts[0]
    for part in parts[1:]:
        merged = merge(merged, part)
    assert merged.output.dtype == torch.float32
    assert (merged.output - attention(q, k, v)).abs().max() <= TOLERANCES[scale]
    backwards = parts[-1]
    for part in parts[-2::-1]:
        backwards = merge(backwards, part)
    assert (merged.output - backwards.output).abs().max() <= TOLERANCES[scale]


def test_a_part_without_weight_changes_nothing():
    q, k, v = drawn(0, 1, 4, 2, 8, scale=20), drawn(1, 1, 6, 2, 8), drawn(2, 1, 6, 2, 8)
    part = attend_partial(q, k, v)
    ghost = part._replace(output=part.output + 1e6, log_sum=part.log_sum - 1e4)
    for both in (merge(part, ghost), merge(ghost, part)):
        assert torch.equal(both.output, part.output)
        assert torch.equal(both.log_sum, part.log_sum)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_and_the_definition_agree(dtype):
    q, k, v = (drawn(seed, 2, n, 3, 16).to(dtype) for seed, n in enumerate((5, 9, 9)))
    part = attend_partial(q, k, v)
    out, log_sum = _attend_plain(*(x.transpose(1, 2).float() for x in (q, k, v)))
    tolerance = 2e-6 if dtype == torch.float32 else 2e-2
    assert (part.output.transpose(1, 2) - out).abs().max() <= tolerance
    assert (part.log_sum[..., 0].transpose(1, 2) - log_sum).abs().max() <= tolerance


@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [("cudnn", torch.bfloat16), ("flash", torch.bfloat16), ("efficient", torch.float32)],
)
def test_the_kernels_of_gpus_give_parts_of_the_same_shape(kernel, dtype, monkeypatch):
    """By shape alone: torch knows what its CUDA kernels return without a device."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    capability = (9, 0) if kernel == "cudnn" else (8, 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    with FakeTensorMode():
        q, k, v = (torch.empty(2, n, 3, 64, dtype=dtype, device="cuda") for n in (37, 50, 50))
        part = attend_partial(q, k, v)
    assert part.output.shape == (2, 37, 3, 64)
    assert part.log_sum.shape == (2, 37, 3, 1)
    assert part.output.dtype == part.log_sum.dtype == torch.float32


@pytest.mark.parametrize("plain", [False, True])
def test_gradients_of_the_parts_are_those_of_the_whole(plain, monkeypatch):
    q, k, v = (drawn(seed, 2, n, 3, 16).requires_grad_() for seed, n in enumerate((7, 17, 17)))
    gradient = drawn(3, 2, 7, 3, 16)
    expected = torch.autograd.grad(attention(q, k, v), (q, k, v), gradient)
    if plain:
        kernels = torch.ops.aten
        monkeypatch.setattr(
            kernels, "_scaled_dot_product_flash_attention_for_cpu_backward",
            lambda *args: _backward_plain(*args[:6]),
        )  # fmt: skip
    with torch.no_grad():
        whole = attend_partial(q, k, v)
        parts = [
            attend_partial_backward(gradient, q, some_k, some_v, whole)
            for some_k, some_v in zip(k.split((5, 12), 1), v.split((5, 12), 1), strict=True)
        ]
    dqs, dks, dvs = zip(*parts, strict=True)
    got = sum(dqs), torch.cat(dks, 1), torch.cat(dvs, 1)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)


def test_the_kernel_of_gpus_gives_gradients_of_the_same_shapes():
    """By shape alone, see above."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        q, k, v, gradient = (
            torch.empty(2, n, 3, 64, dtype=torch.bfloat16, device="cuda") for n in (37, 50, 50, 37)
        )
        log_sum = torch.empty(2, 37, 3, 1, device="cuda")
        parts = attend_partial_backward(gradient, q, k, v, PartialSoftmax(gradient, log_sum))
    assert [part.shape for part in parts] == [(2, 37, 3, 64), (2, 50, 3, 64), (2, 50, 3, 64)]

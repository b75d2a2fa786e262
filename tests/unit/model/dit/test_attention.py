import pytest
import torch

from wanctl.model.dit.attention import attention
from wanctl.runtime.attention_kernels import backend_name


def test_attention_is_the_formula():
    q, k, v = torch.randn(2, 5, 3, 8), torch.randn(2, 7, 3, 8), torch.randn(2, 7, 3, 8)
    weights = torch.einsum("blnk,bsnk->bnls", q, k).div(8**0.5).softmax(-1)
    expected = torch.einsum("bnls,bsnk->blnk", weights, v)
    torch.testing.assert_close(attention(q, k, v), expected, atol=1e-6, rtol=0)


def test_values_decide_the_dtype():
    q, k = torch.randn(1, 4, 2, 8), torch.randn(1, 4, 2, 8)
    assert attention(q, k, torch.randn(1, 4, 2, 8).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "dtype", "name"),
    [
        ((9, 0), torch.bfloat16, "sdpa (cudnn first)"),
        ((8, 0), torch.bfloat16, "sdpa (flash first)"),
        ((10, 0), torch.float16, "sdpa (flash first)"),
        ((9, 0), torch.float32, "sdpa (memory-efficient)"),
    ],
)
def test_cudnn_is_preferred_on_hopper_alone(monkeypatch, capability, dtype, name):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert backend_name(torch.device("cuda"), dtype) == name
    assert backend_name(torch.device("cpu"), dtype) == "sdpa (cpu)"

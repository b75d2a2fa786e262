"""Where there is no GPU these tests are skipped, each with the reason."""

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def _gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")

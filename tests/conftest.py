"""What every test starts from: no network, and nothing left behind by the test before it."""

import logging
import os
import random
import sys
from collections.abc import Iterator
from typing import Any

import pytest

# Read once, when huggingface_hub is imported: a look-up fails at once instead of after retries.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def _program_logger() -> Iterator[None]:
    """The command line replaces the handlers of the program's logger; put them back."""
    logger = logging.getLogger("wanctl")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture(autouse=True)
def _random_numbers() -> Iterator[None]:
    """Same numbers in every test, whichever ran before; torch only where it is in use already."""
    random.seed(0)
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    dtype, deterministic = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(dtype)
    # imports the compiler (seconds), so only where a test changed it
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)
    torch.set_grad_enabled(grad)

"""One line for whatever transformers raises on a model's files."""

from collections.abc import Iterator
from contextlib import contextmanager

import transformers

from wanctl.errors import is_out_of_memory
from wanctl.vlm.chat import ChatError


@contextmanager
def readable(model: str, what: str, trusted: bool) -> Iterator[None]:
    """Turn what the library raises on a file into one line.

    Raises:
        ChatError: any exception in the block; transformers and the libraries below it raise a
            dozen unrelated types on missing and broken files.
    """
    try:
        yield
    except ChatError:
        raise
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0].strip() if lines else type(error).__name__
        if is_out_of_memory(error):
            advice = "does not fit into memory; take a smaller model, or one served by several GPUs"
            raise ChatError(f"model {model}: {advice} ({reason})") from None
        if "trust_remote_code" in str(error) and not trusted:
            raise ChatError(
                f"model {model}: comes with Python code of its own; read it, then set "
                "`trust_remote_code: true` to run it"
            ) from None
        raise ChatError(
            f"model {model}: cannot read {what} with transformers {transformers.__version__} "
            f"({reason})"
        ) from None

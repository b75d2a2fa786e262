"""Seconds and peak memory that a VAE needs, measured in a process of its own.

The peak of a process cannot be told from what it held before, and this one holds every VAE and the
measures' networks.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from wanctl.eval.vae.networks import CodingOptions, NamedVAE
from wanctl.log import log
from wanctl.model.shapes import PixelShape

WORKER = "wanctl.eval.vae.cost_worker"


@dataclass(frozen=True)
class Cost:
    """What one video of `shape` costs.

    Attributes:
        shape: frames, height, width.
        chunked: whether it was coded piece by piece.
        encode_s: seconds, the best of several where one is short.
        decode_s: the same.
        encode_bytes: peak above the weights and the input; None where the system does not tell.
        decode_bytes: the same.
        hardware: name of the GPU, or threads of the CPU.
    """

    shape: tuple[int, int, int]
    chunked: bool
    encode_s: float
    decode_s: float
    encode_bytes: int | None
    decode_bytes: int | None
    hardware: str

    @property
    def megapixels(self) -> float:
        """Pixels of all frames together, in millions."""
        frames, height, width = self.shape
        return frames * height * width / 1e6


def measure_cost(vae: NamedVAE, shape: PixelShape, options: CodingOptions) -> Cost | None:
    """Encode and decode noise of a shape; None, with a warning, where that fails."""
    task = {
        "ref": vae.ref,
        "decoder_ref": vae.decoder_ref,
        "shape": list(shape),
        "device": str(options.device),
        "dtype": str(options.dtype).removeprefix("torch."),
        "chunked": options.in_chunks(shape),
    }
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", WORKER],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        why = lines[-1] if lines else f"its process ended with code {done.returncode}"
        if done.returncode < 0:
            why = f"signal {-done.returncode} ended its process; memory may not suffice"
        log.warning("%s: seconds and memory were not measured: %s", vae.name, why)
        return None
    return cost_from(json.loads(done.stdout))


def cost_from(values: dict[str, object]) -> Cost:
    """The inverse of `asdict`, also after JSON."""
    fields = {name: values[name] for name in Cost.__dataclass_fields__}
    fields["shape"] = tuple(fields["shape"])  # type: ignore[arg-type]
    return Cost(**fields)  # type: ignore[arg-type]


def cost_key(shape: PixelShape, options: CodingOptions) -> str:
    """Part of the name of a stored cost."""
    size = "x".join(map(str, shape))
    form = "chunked" if options.in_chunks(shape) else "whole"
    dtype = str(options.dtype).removeprefix("torch.")
    return f"cost-{size}-{form}-{dtype}-{options.device.type}"


def stored(cost: Cost) -> dict[str, object]:
    """For JSON."""
    return asdict(cost)

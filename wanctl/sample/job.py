"""One output that is to be made, and its latents as a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from wanctl.atomic import replacing
from wanctl.sample.params import SamplingParams
from wanctl.tasks.inputs import Inputs


@dataclass(frozen=True)
class SampleJob:
    """One output that is still to be made.

    Attributes:
        prompt: what it shows.
        settings: how it is made.
        read: gives what it is made from besides words.
        path: where it goes.
        metadata: for the file's header.
    """

    prompt: str
    params: SamplingParams
    read: Callable[[], Inputs]
    path: Path
    metadata: Mapping[str, str]

    @property
    def latents_path(self) -> Path:
        """Where the latents go if they are wanted."""
        return self.path.with_suffix(".safetensors")


def words_of(jobs: Sequence[SampleJob]) -> list[str]:
    """Everything that is to be embedded, each once."""
    negative = [job.params.negative_prompt for job in jobs if job.params.guided]
    return list(dict.fromkeys([*(job.prompt for job in jobs), *negative]))


def write_latents(job: SampleJob, latents: Tensor) -> None:
    """Save (1, C, T, Y, X) normalised latents under the key `latents`."""
    with replacing(job.latents_path) as temp:
        save_file(
            {"latents": latents.cpu().contiguous()},
            temp,
            metadata={"prompt": job.prompt, **job.metadata},
        )

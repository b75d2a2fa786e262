"""The folder of a run's outputs: file names, headers, and which outputs exist already."""

from importlib.metadata import version
from pathlib import Path

from torch import Tensor

from wanctl.atomic import make_folder, replacing
from wanctl.checkpoint.files.write import save_tensors
from wanctl.checkpoint.resolve import ResolvedWeights
from wanctl.log import log
from wanctl.sample.request import SampleRequest


class OutputFolder:
    """Names the files of requests; creates the folder, so that a bad path fails before the work.

    Args:
        out: the run folder; files go to `out/samples`.
        weights: their fingerprint is a part of each file name.

    Attributes:
        embeddings_folder: where text embeddings of prompts are cached.

    Raises:
        WriteError: the folder cannot be created.
    """

    def __init__(self, out: Path, weights: ResolvedWeights) -> None:
        self.embeddings_folder = out / "prompts"
        self._folder = out / "samples"
        self._weights = weights
        make_folder(self._folder)

    def path(self, request: SampleRequest) -> Path:
        """The video or image file of a request."""
        return self._folder / request.file_name(self._weights.fingerprint)

    def latents_path(self, request: SampleRequest) -> Path:
        """The file of a request's latents, which `sample.save_latents` writes."""
        return self.path(request).with_suffix(".safetensors")

    def header(self, request: SampleRequest) -> dict[str, str]:
        """Header entries of a request's files: the prompt, the settings, weights and inputs."""
        return {
            "prompt": request.prompt,
            **({"typed_prompt": request.typed_prompt} if request.typed_prompt else {}),
            "software": f"wanctl {version('wanctl')}",
            **{name: str(value) for name, value in request.settings().items()},
            **self._weights.metadata(),
            **request.header,
        }

    def exists(self, request: SampleRequest, latents: bool) -> bool:
        """Whether an earlier run wrote this output; files are complete or absent.

        Args:
            request: the output.
            latents: its latents are wanted too.
        """
        path = self.path(request)
        found = path.is_file() and (not latents or self.latents_path(request).is_file())
        if found:
            log.info("%s is there already", path)
        return found

    def write_latents(self, request: SampleRequest, latents: Tensor) -> None:
        """Save (1, C, T, Y, X) normalised latents under the key `latents`."""
        with replacing(self.latents_path(request)) as temp:
            save_tensors(temp, {"latents": latents}, self.header(request))

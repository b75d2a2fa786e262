"""What the loop over clips needs of `SamplingPipeline`, on networks that a test has made."""

import torch


class ClipPipeline:
    """A subclass adds `images`, which stands for CLIP, and `denoise`."""

    def __init__(self, dit, vae, given, texts):
        self._dit, self._vae, self._given, self._texts = dit, vae, given, texts
        self.device, self.dit = torch.device("cpu"), dit.shape

    def inputs_of(self, _):
        return self._given

    def encoders(self, _):
        return self

    def latents(self, video):
        return self._vae.encode(video[None])[0]

    def shared_vae(self, _):
        return self._vae

    def release_transformers(self):
        pass

    def noise(self, task, request, clip, seed):
        """The noise of a clip, of one generator for all clips as in diffusers."""
        generator = torch.Generator().manual_seed(seed)
        shape = task.latent_shape(self._vae.shape, *request.size, self._given)
        for _ in range(clip + 1):
            noise = torch.randn(shape, generator=generator)
        return noise[None]

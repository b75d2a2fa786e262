"""The encoders of a task's inputs, as training runs them: many windows, one after the other."""

from collections.abc import Sequence

import torch
from torch import Tensor

from wanctl.checkpoint.find import Components
from wanctl.checkpoint.fingerprint import image_encoder_hash
from wanctl.device import free_device_memory
from wanctl.encoders.task_inputs import InputEncoders
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import DiTShape


class TrainingEncoders(InputEncoders):
    """The encoders of sampling; both networks stay on the device until `free`.

    Args:
        vae: the frozen VAE.
        vae_key: names it, `NAME@HASH`.
        dit: sizes of the transformer.
        image: weights of CLIP's vision tower; None: there are none.
        device: where both networks run.

    Raises:
        WeightsError: the transformer has an image branch and there is no vision tower.
    """

    def __init__(
        self,
        vae: WanVAE,
        vae_key: str,
        dit: DiTShape,
        image: Components | None,
        device: torch.device,
    ) -> None:
        super().__init__(vae, dit, image, device)
        self.vae = vae
        self.key = (
            vae_key
            if dit.image_dim is None or image is None
            else f"{vae_key}-{image_encoder_hash(image)}"
        )
        self._tower = None
        if dit.image_dim:
            self.image_encoder_path()  # refused before anything is encoded

    def latents(self, video: Tensor) -> Tensor:
        """Encode (3, F, H, W) pixels in [-1, 1] to (C, T, Y, X) normalised latents on the CPU."""
        self.vae.to(self._device)
        return super().latents(video)

    def images(self, pictures: Sequence[Tensor]) -> Tensor:
        """Encode (3, H, W) pixels in [-1, 1] to hidden states (N, I, E) on the CPU.

        Raises:
            WeightsError: the tower is missing, or belongs to another model.
        """
        if self._tower is None:
            self._tower = self.load_image_encoder()
        return self._tower(pictures).cpu()

    def free(self) -> None:
        """Free the device's memory; the next call loads the networks again."""
        self.vae.to("cpu")
        self._tower = None
        free_device_memory(self._device)

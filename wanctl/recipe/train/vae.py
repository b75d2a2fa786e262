"""Keys of `train_vae`."""

from typing import Annotated, Literal

from pydantic import Field

from wanctl.recipe.section import FrameCount
from wanctl.recipe.train.section import Names, TrainSection
from wanctl.recipe.train.vae_losses import VAELossSection


class TrainVAESection(TrainSection):
    """Keys of `wanctl train-vae`."""

    network: Literal["vae", "tiny_decoder"] = Field(
        default="vae",
        description="`vae`; `tiny_decoder`: a small decoder for previews, which learns to repeat "
        "the decoder of the run's VAE (OUT/vae, else `model.vae_weights`) and is written to "
        "OUT/tiny_decoder; of the loss, l1 and perceptual apply",
    )
    tiny_decoder_width: int = Field(
        default=256,
        ge=4,
        le=4096,
        multiple_of=4,
        description="channels of the tiny decoder's first level; the published ones have 256",
    )
    trained: Names = Field(
        default=("all",),
        min_length=1,
        description="what is trained: `all`, `encoder`, `decoder` (the latents, their statistics "
        "and so transformers that were trained on them stay valid), or a list of blocks as in the "
        "tensors' names, e.g. `[decoder.head, decoder.upsamples.14]`",
    )
    latent_statistics: Literal["keep", "measure"] = Field(
        default="keep",
        description="mean and deviation of the latents: `keep` those of the weights that training "
        "starts from, if they fit; `measure` them when training ends, as after random weights",
    )
    chunk_frames: Annotated[FrameCount, Field(ge=5)] | None = Field(
        default=None,
        description="longer clips are trained in chunks of so many frames (4n+1; later ones one "
        "less): layers see the frames before a chunk, gradients end at its start, memory is that "
        "of one chunk; null: clips are trained whole",
    )
    loss: VAELossSection = VAELossSection()

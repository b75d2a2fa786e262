"""Which weights a sample is made with: what was trained here, else what the recipe names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from wanctl.checkpoint.find import Components, find_components
from wanctl.checkpoint.lora.apply import Lora
from wanctl.checkpoint.lora.files import lora_path
from wanctl.checkpoint.tensor_files import WeightsError, fingerprint
from wanctl.model.variants import Variant

COMPONENT_NAMES = {
    "dit": "transformer",
    "vae": "VAE",
    "text_encoder": "text encoder",
    "image_encoder": "CLIP vision tower",
}


@dataclass(frozen=True)
class ResolvedWeights:
    """The parts of a model and where each comes from.

    Attributes:
        dit: holds the transformer.
        vae: holds the VAE.
        text: holds the text encoder; None where a package carries it.
        text_kind: `umt5` or `minilm`.
        image: holds CLIP's vision tower; None where there is none.
        loras: what changes the transformers.
        fingerprint: 16 hex digits over the contents of all files.
    """

    dit: Components
    vae: Components
    text: Components | None
    text_kind: str
    fingerprint: str
    image: Components | None = None
    loras: tuple[Lora, ...] = ()

    def metadata(self) -> dict[str, str]:
        """For an output's header."""
        text = str(self.text.text_encoder) if self.text else f"{self.text_kind} (packaged)"
        low = {"dit_low_weights": str(self.dit.dit_low[0])} if self.dit.dit_low else {}
        image = {"image_weights": str(self.image.image_encoder)} if self.image else {}
        loras = {"loras": "; ".join(map(_told, self.loras))} if self.loras else {}
        return {
            **low,
            **image,
            **loras,
            "dit_weights": str((self.dit.dit or ("",))[0]),
            "vae_weights": str(self.vae.vae),
            "text_weights": text,
            "weights_fingerprint": self.fingerprint,
        }


@dataclass(frozen=True)
class WeightsResolver:
    """Where weights may lie, in the order they are tried.

    Attributes:
        out: the output folder; `out/dit` and `out/vae` hold what was trained.
        weights: `model.weights`.
        low_weights: `model.low_weights`.
        vae_weights: `model.vae_weights`.
        text_weights: `model.text_weights`.
        image_weights: `model.image_weights`.
        variant: its hub id is looked up in the local cache only, never downloaded unasked.
        loras: `model.loras`.
    """

    out: Path
    weights: str | None
    vae_weights: str | None
    text_weights: str | None
    variant: Variant
    image_weights: str | None = None
    loras: tuple[Lora, ...] = ()
    low_weights: str | None = None

    def resolve(self) -> ResolvedWeights:
        """Find every part.

        Raises:
            WeightsError: a part is nowhere; says where it looked and what to do.
        """
        trained = self._trained()
        given = find_components(self.weights) if self.weights else None
        cached = None if given else _cached(self.variant.hub)
        low = self._given("low_weights", "dit")
        vae_given = self._given("vae_weights", "vae")
        text_given = self._given("text_weights", "text_encoder")
        image_given = self._given("image_weights", "image_encoder")

        dit = _first("dit", trained, given, cached)
        if dit is None:
            raise WeightsError(f"no transformer weights: {self._looked('dit')}; {self._advice()}")
        if low:
            dit = replace(dit, dit_low=low.dit, dit_low_config=low.dit_config)
        self._check_experts(dit)
        vae = _first("vae", trained, vae_given, given, cached)
        if vae is None:
            raise WeightsError(f"no VAE weights: {self._looked('vae')}; {self._advice()}")
        # What was trained here for the packaged encoder stays with it; a saved model that brings an
        # encoder of its own is sampled with that.
        packaged = self.variant.text_encoder == "minilm" and dit is trained
        text = None if packaged else _first("text_encoder", text_given, given, cached)
        kind = "umt5" if text else self.variant.text_encoder
        if text is None and kind != "minilm":
            raise WeightsError(
                f"no text encoder: {self._looked('text_encoder')}; {self._advice()}, or name its "
                "folder with `--set model.text_weights=DIR`"
            )
        image = None
        if self.variant.dit.image_dim:
            image = _first("image_encoder", image_given, given, cached)
        files = [*_files(dit, vae, text, image), *(lora_path(lora.path) for lora in self.loras)]
        how = "; ".join(f"{lora.strength} {lora.expert}" for lora in self.loras)
        key = fingerprint(files, about=how)[:16]
        return ResolvedWeights(dit, vae, text, kind, key, image, self.loras)

    def _given(self, key: str, component: str) -> Components | None:
        """What a key that names one part alone leads to."""
        ref = getattr(self, key)
        if not ref:
            return None
        found = find_components(ref)
        if not getattr(found, component):
            raise WeightsError(
                f"model.{key}: {ref} holds no {COMPONENT_NAMES[component]}; name a file or folder "
                "with one, or leave the key out"
            )
        return found

    def _check_experts(self, dit: Components) -> None:
        """As many transformers as the variant takes."""
        two, name = self.variant.experts == 2, self.variant.name
        if two and not dit.dit_low:
            raise WeightsError(
                f"{dit.root}: holds one transformer and {name} takes two; need high_noise_model/ "
                "and low_noise_model/, or transformer/ and transformer_2/, or the other in "
                "model.low_weights"
            )
        if dit.dit_low and not two:
            raise WeightsError(
                f"{dit.root}: holds two transformers and {name} takes one; set model.variant to "
                "one that takes two (wan2.2-t2v-a14b, wan2.2-i2v-a14b)"
            )

    def _trained(self) -> Components | None:
        parts = (self.out / component / "config.json" for component in ("dit", "vae"))
        return find_components(self.out) if any(path.is_file() for path in parts) else None

    def _looked(self, component: str) -> str:
        """Every place that was tried."""
        places = {
            "dit": [str(self.out / "dit"), self._said("weights")],
            "vae": [str(self.out / "vae"), self._said("vae_weights"), self._said("weights")],
            "text_encoder": [self._said("text_weights"), self._said("weights")],
        }[component]
        if self.variant.hub and not self.weights:
            places.append(f"{self.variant.hub} in the hub cache {constants.HF_HUB_CACHE}")
        return f"looked in {', '.join(places)}"

    def _said(self, key: str) -> str:
        return f"model.{key} ({getattr(self, key) or 'not set'})"

    def _advice(self) -> str:
        if self.variant.hub is None:
            return "train them (`make demo`, or `wanctl train-vae` and `train-dit`)"
        return (
            f"get them with `hf download {self.variant.hub}`, or set model.weights to a folder, "
            "or take `--recipe tiny`, which samples from what `make demo` trained"
        )


def _cached(hub: str | None) -> Components | None:
    """A whole or partial snapshot in the local hub cache."""
    if hub is None:
        return None
    try:
        folder = snapshot_download(hub, local_files_only=True)
    except (LocalEntryNotFoundError, OSError):
        return None
    try:
        return find_components(folder)
    except WeightsError:
        return None


def _told(lora: Lora) -> str:
    return f"{lora.path} {lora.strength:g}" + (f" {lora.expert}" if lora.expert else "")


def _first(component: str, *places: Components | None) -> Components | None:
    return next(
        (place for place in places if place is not None and getattr(place, component)), None
    )


def text_encoder_files(text: Components) -> list[Path]:
    """Every file of a text encoder and its tokenizer."""
    return list(_flat([text.text_encoder, text.tokenizer]))


def _files(
    dit: Components, vae: Components, text: Components | None, image: Components | None
) -> Iterator[Path]:
    yield from dit.dit or ()
    yield from dit.dit_low or ()
    yield from vae.vae or ()
    yield from text_encoder_files(text) if text else ()
    yield from _flat([image.image_encoder if image else None])


def _flat(paths: Sequence[Path | None]) -> Iterator[Path]:
    """Files, and the files of folders."""
    for path in paths:
        if path and path.is_dir():
            yield from sorted(p for p in path.iterdir() if p.is_file())
        elif path:
            yield path

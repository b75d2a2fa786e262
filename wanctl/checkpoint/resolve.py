"""Resolve which weights a run uses: the one search of training, sampling and `wanctl doctor`.

For each component the first of these places that holds it counts:

1. the run folder: `OUT/dit` and `OUT/vae` hold what was trained there. An adapter in `OUT/dit` is
   no component: it is added to the transformer that is found;
2. the recipe's key for that component alone, e.g. `model.vae_weights`;
3. `model.weights`;
4. the variant's published model in the local hub cache; its transformer only if `model.weights` is
   not set.

Nothing is downloaded unless the recipe names a hub id; then a log line says what is downloaded and
where it goes. The hub id of the variant is only looked up in the cache, and the error says the
command that downloads it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from wanctl.checkpoint.files.published import published_file
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import (
    COMPONENT_NAMES,
    Components,
    cached_components,
    find_components,
)
from wanctl.checkpoint.fingerprint import dit_fingerprint, weights_fingerprint
from wanctl.checkpoint.lora.apply import Lora
from wanctl.checkpoint.side_files.identity import with_identity
from wanctl.checkpoint.side_files.run_adapters import run_adapters
from wanctl.checkpoint.tiny_decoder import is_tiny_decoder, tiny_decoder_files
from wanctl.model.variants import Variant

# Recipe keys that name the weights of a component, in the order they are read.
KEYS = {
    "dit": ("weights",),
    "vae": ("vae_weights", "weights"),
    "text_encoder": ("text_weights", "weights"),
    "image_encoder": ("image_weights", "weights"),
    "audio_encoder": ("audio_weights", "weights"),
}
# Recipe keys for one component alone, and which one that is.
SINGLE_KEYS = {
    "low_weights": "dit",
    "vae_weights": "vae",
    "text_weights": "text_encoder",
    "image_weights": "image_encoder",
    "audio_weights": "audio_encoder",
}


@dataclass(frozen=True)
class ResolvedWeights:
    """The components that sampling uses and where each comes from.

    Attributes:
        dit: holds the transformer.
        vae: holds the VAE.
        text: holds the text encoder; None where a package brings it.
        text_kind: `umt5` or `minilm`.
        fingerprint: 16 hex digits over all tensors, whatever files hold them.
        image: holds CLIP's vision tower; None where there is none.
        loras: applied to the transformers.
        strict: whether tensors and keys of parts that the model lacks are refused.
        audio: holds the audio encoder; None where the model reads no speech.
    """

    dit: Components
    vae: Components
    text: Components | None
    text_kind: str
    fingerprint: str
    image: Components | None = None
    loras: tuple[Lora, ...] = ()
    strict: bool = False
    audio: Components | None = None

    def metadata(self) -> dict[str, str]:
        """Entries for the header of an output."""
        text = str(self.text.text_encoder) if self.text else f"{self.text_kind} (packaged)"
        low = {"dit_low_weights": str(self.dit.dit_low[0])} if self.dit.dit_low else {}
        image = {"image_weights": str(self.image.image_encoder)} if self.image else {}
        audio = {"audio_weights": str(self.audio.audio_encoder)} if self.audio else {}
        loras = {"loras": "; ".join(map(_lora_entry, self.loras))} if self.loras else {}
        return {
            **low,
            **image,
            **audio,
            **loras,
            "dit_weights": str((self.dit.dit or ("",))[0]),
            "vae_weights": str(self.vae.vae),
            "text_weights": text,
            "weights_fingerprint": self.fingerprint,
        }


@dataclass(frozen=True)
class WeightsResolver:
    """The places where the weights of a run may be.

    Attributes:
        out: the run folder.
        variant: its hub id is looked up in the local cache only.
        weights: `model.weights`.
        vae_weights: `model.vae_weights`.
        text_weights: `model.text_weights`.
        image_weights: `model.image_weights`.
        audio_weights: `model.audio_weights`.
        low_weights: `model.low_weights`.
        identity: `model.identity`.
        low_identity: `model.low_identity`.
        loras: `model.loras`; the adapters in the run folder go before them.
        strict: `model.strict`.
    """

    out: Path
    variant: Variant
    weights: str | None
    vae_weights: str | None
    text_weights: str | None
    image_weights: str | None = None
    audio_weights: str | None = None
    low_weights: str | None = None
    identity: str | None = None
    low_identity: str | None = None
    loras: tuple[Lora, ...] = ()
    strict: bool = False

    def resolve(self) -> ResolvedWeights:
        """Find everything that a sample needs.

        Raises:
            WeightsError: a component was not found; says where was searched and what to do.
        """
        dit = with_identity(self._dit(), self.identity, self.low_identity)
        adapters = tuple(run_adapters(self.out, dit, dit_fingerprint))
        vae = self.find_vae()
        # What was trained here with the packaged encoder is sampled with it; a model from elsewhere
        # that brings an encoder of its own is sampled with that one.
        packaged = dit is self._trained or bool(adapters)
        text, kind = self.find_text_encoder(packaged=packaged)
        image = self.find_image_encoder() if self.variant.dit.image_dim else None
        loras = (*adapters, *self.loras)
        audio = self._audio_encoder() if self.variant.dit.speech else None
        key = weights_fingerprint(dit, vae, text, image, loras, audio)
        return ResolvedWeights(dit, vae, text, kind, key, image, loras, self.strict, audio)

    def find_vae(self, train_command: str | None = None) -> Components:
        """Find the VAE.

        Args:
            train_command: command that trains one for this run, for the error.

        Raises:
            WeightsError: there is none; says where was searched and what to do.
        """
        vae = self._find("vae", self._trained)
        if vae and train_command and is_tiny_decoder((vae.vae or ("",))[0]):
            raise WeightsError(
                f"model.vae_weights: {vae.root} is a tiny decoder, which only makes outputs and "
                "previews; training needs the VAE from which it was trained"
            )
        if vae is None:
            advice = self._advice("vae")
            if train_command:
                advice = (
                    f"run `{train_command}`, or name one with `--set model.vae_weights=DIR`, or "
                    f"{advice}"
                )
            raise WeightsError(f"no VAE weights: {self._searched('vae')}; {advice}")
        return vae

    def find_text_encoder(self, *, packaged: bool) -> tuple[Components | None, str]:
        """Find the text encoder: (components, kind), without components where it is packaged.

        Args:
            packaged: use the packaged encoder where it is the variant's.

        Raises:
            WeightsError: the variant needs one and there is none.
        """
        kind = self.variant.text_encoder
        if packaged and kind == "minilm":
            return None, kind
        text = self._find("text_encoder")
        if text is not None:
            return text, "umt5"
        if kind != "minilm":
            searched, advice = self._searched("text_encoder"), self._advice("text_encoder")
            raise WeightsError(
                f"no text encoder: {searched}; {advice}, or name its folder with "
                "`--set model.text_weights=DIR`"
            )
        return None, kind

    def find_image_encoder(self) -> Components | None:
        """Find CLIP's vision tower; None where there is none, which is refused where it is used."""
        return self._find("image_encoder")

    def _audio_encoder(self) -> Components:
        audio = self._find("audio_encoder")
        if audio is None:
            raise WeightsError(
                f"no audio encoder (wav2vec2): {self._searched('audio_encoder')}; name the folder "
                "wav2vec2-large-xlsr-53-english of the published model with "
                "`--set model.audio_weights=DIR`"
            )
        return audio

    def _dit(self) -> Components:
        dit = self._find("dit", self._trained)
        if dit is None:
            if self._model and self._model.held:
                raise WeightsError(
                    f"model.weights: {self._model.root} holds a {self._model.held} and no "
                    "transformer; name one"
                )
            raise WeightsError(f"no transformer weights: {self._searched('dit')}; {self._advice()}")
        trained, low = self._trained, self._named.get("low_weights")
        if trained is not None and trained.dit_low:
            dit = replace(dit, dit_low=trained.dit_low, dit_low_config=trained.dit_low_config)
        elif low:
            dit = replace(dit, dit_low=low.dit, dit_low_config=low.dit_config)
        two_experts, name = self.variant.experts == 2, self.variant.name
        if two_experts and not dit.dit_low:
            raise WeightsError(
                f"{dit.root}: holds one transformer and {name} takes two; need high_noise_model/ "
                "and low_noise_model/, or transformer/ and transformer_2/, or the other in "
                "model.low_weights"
            )
        if dit.dit_low and not two_experts:
            raise WeightsError(
                f"{dit.root}: holds two transformers and {name} takes one; set model.variant to "
                "one that takes two (wan2.2-t2v-a14b, wan2.2-i2v-a14b)"
            )
        return dit

    def _find(self, component: str, trained: Components | None = None) -> Components | None:
        """The first place that holds a component; keys that name only that one have to hold it."""
        named = (self._named[key] for key in KEYS[component] if key in self._named)
        for place in (trained, next(named, None), self._model):
            if place is not None and getattr(place, component):
                return place
        if component == "dit" and (self.weights or not self.variant.hub):
            return None
        place = self._published
        return place if place and getattr(place, component) else None

    @cached_property
    def _trained(self) -> Components | None:
        """What the run folder holds; config.json is the last file that a save writes."""
        configs = (self.out / folder / "config.json" for folder in ("dit", "dit_low", "vae"))
        return find_components(self.out) if any(path.is_file() for path in configs) else None

    @cached_property
    def _named(self) -> dict[str, Components]:
        """What the keys for one component alone name; each has to hold that component."""
        refs = {key: getattr(self, key) for key in SINGLE_KEYS}
        return {
            key: _holding(_named_components(key, ref), SINGLE_KEYS[key], key)
            for key, ref in refs.items()
            if ref
        }

    @cached_property
    def _model(self) -> Components | None:
        return find_components(self.weights) if self.weights else None

    @cached_property
    def _published(self) -> Components | None:
        return cached_components(self.variant.hub or self.variant.base_hub)

    def _searched(self, component: str) -> str:
        """Every place that was searched, in order."""
        trained = [str(self.out / component)] if component in ("dit", "vae") else []
        places = [f"model.{key} ({getattr(self, key) or 'not set'})" for key in KEYS[component]]
        hub = self.variant.hub or (component != "dit" and self.variant.base_hub)
        if hub and not (self.weights and component == "dit"):
            # Half a second that only the error pays.
            from huggingface_hub import constants  # noqa: PLC0415

            places.append(f"{hub} in the hub cache {constants.HF_HUB_CACHE}")
        return f"looked in {', '.join([*trained, *places])}"

    def _advice(self, component: str = "dit") -> str:
        hub = self.variant.hub or (self.variant.base_hub if component != "dit" else None)
        if hub is None:
            own = "train them (`make demo`, or `wanctl train-vae` and `train-dit`)"
            return "set model.weights to its file or folder" if self.variant.base_hub else own
        demo = "or take `--recipe tiny`, which samples from what `make demo` trained"
        return f"{download_advice(hub)}, {demo}"


def download_advice(hub_id: str) -> str:
    """What to do for a published model that is not in the hub cache."""
    return f"get them with `hf download {hub_id}`, or set model.weights to a folder"


def text_encoder_files(text: Components) -> list[Path]:
    """Every file of a text encoder and its tokenizer."""
    return list(_flat([text.text_encoder, text.tokenizer]))


def _named_components(key: str, ref: str) -> Components:
    """What a key for one component names; a VAE may be a tiny decoder, or a known file's name.

    Raises:
        WeightsError: there is no such reference.
    """
    if key != "vae_weights":
        return find_components(ref)
    path = published_file(ref) or Path(ref).expanduser()
    if files := tiny_decoder_files(path):
        return Components(path, "official", vae=files)
    return find_components(path if path.exists() else ref)


def _holding(components: Components, component: str, key: str) -> Components:
    """Check that what `model.KEY` names holds the component.

    Raises:
        WeightsError: it does not.
    """
    if not getattr(components, component):
        raise WeightsError(
            f"model.{key}: {components.root} holds no {COMPONENT_NAMES[component]}; name a file or "
            "folder with one, or leave the key out"
        )
    return components


def _lora_entry(lora: Lora) -> str:
    return f"{lora.path} {lora.strength:g}" + (f" {lora.expert}" if lora.expert else "")


def _flat(paths: Sequence[Path | None]) -> Iterator[Path]:
    """Files, and the files of folders."""
    for path in paths:
        if path and path.is_dir():
            yield from sorted(p for p in path.iterdir() if p.is_file())
        elif path:
            yield path

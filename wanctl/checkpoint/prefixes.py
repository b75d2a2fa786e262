"""Parameter names under whatever prefixes a trainer, a wrapper or an all-in-one file put them.

A network is found by tensors that only it has: what stands before such a tensor's name is the
prefix, however many words it has (`module.`, `model.diffusion_model.`, `generator_ema.model.`).
Wrappers of torch put words in the middle of names as well; those are left out wherever they stand.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import cache

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.files.wrappers import best_state
from wanctl.log import log

TRANSFORMER, VAE, TEXT_ENCODER, IMAGE_ENCODER = "dit", "vae", "text_encoder", "image_encoder"
NETWORKS = (TRANSFORMER, VAE, TEXT_ENCODER, IMAGE_ENCODER)
# Words that torch.compile, FSDP, activation checkpointing, DDP and PEFT put into names.
WRAPPERS = {
    "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module", "module",
    "base_layer",
}  # fmt: skip
# Network -> (tensors that end in one of these names, a name below the same prefix that begins
# with one of those): published names, then those of diffusers and transformers.
MARKS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    TRANSFORMER: (
        ("patch_embedding.weight",),
        ("blocks.", "text_embedding.", "condition_embedder."),
    ),
    VAE: (("decoder.conv1.weight", "decoder.conv_in.weight"), ("encoder.",)),
    TEXT_ENCODER: (
        ("token_embedding.weight", "shared.weight", "encoder.embed_tokens.weight"),
        ("blocks.0.ffn.gate.", "encoder.block."),
    ),
    IMAGE_ENCODER: (
        (
            "visual.cls_embedding", "vision_model.embeddings.class_embedding",
            "embeddings.class_embedding",
        ),
        ("visual.", "vision_model.", "embeddings."),
    ),
}  # fmt: skip
SHOWN = 3


def plain_names(stored: Iterable[str], network: str, where: str) -> dict[str, str]:
    """Stored name -> name without prefix and wrappers, of one network's tensors.

    Names of a file that shows no prefix are all returned, so that what does not belong is reported.

    Args:
        stored: names of all tensors of the files.
        network: one of NETWORKS.
        where: names the files in messages.

    Raises:
        WeightsError: two tensors get one name.
    """
    bare = {name: without_wrappers(name) for name in stored}
    sets = _sets(bare.values(), network)
    if not sets:
        return bare
    prefix = _best(sets, where)
    # `ema.blocks.0...` beside `blocks.0...`
    inner = tuple(each for each in sets if each != prefix and each.startswith(prefix))
    foreign = tuple(
        other
        for each in NETWORKS
        if each != network
        for other in _sets(bare.values(), each)
        if other and other != prefix
    )
    plain, left = {}, []
    for name, short in bare.items():
        others = inner if prefix else (*inner, *foreign)
        if short.startswith(prefix) and not short.startswith(others):
            plain[name] = short.removeprefix(prefix)
        elif not short.startswith(foreign):
            left.append(name)
    if left:
        _report_left(where, prefix, len(left), ", ".join(left[:SHOWN]))
    if len(set(plain.values())) < len(plain):
        seen: set[str] = set()
        twice = next(short for short in plain.values() if short in seen or seen.add(short))
        raise WeightsError(f"{where}: holds {twice} twice, with and without a wrapper's prefix")
    return plain


def networks_in(stored: Iterable[str]) -> tuple[str, ...]:
    """The networks whose tensors are among these names."""
    bare = [without_wrappers(name) for name in stored]
    return tuple(each for each in NETWORKS if _sets(bare, each))


def are_of_tiny_decoder(stored: Iterable[str]) -> bool:
    """Whether these are the names of a tiny decoder in TAEHV's layout: first and last layer."""
    return {"decoder.1.weight", "decoder.22.weight"} <= set(stored)


def without_wrappers(name: str) -> str:
    """A name without the words that wrapping modules put into it."""
    if not any(word in name for word in WRAPPERS):
        return name
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _sets(names: Iterable[str], network: str) -> dict[str, list[str]]:
    """Prefix -> names below it, for every set of weights of a network; none is in two sets."""
    names = list(names)
    marks, siblings = MARKS[network]
    found = {
        name[: -len(mark)]: None
        for mark in marks
        for name in names
        if name == mark or name.endswith(f".{mark}")
    }
    if network == IMAGE_ENCODER:
        # `vision_model.embeddings.` is marked by two names, of which the longer counts
        found = {prefix: None for prefix in found if not prefix.endswith("vision_model.")}
    sets = {}
    for prefix in found:
        inner = tuple(each for each in found if each != prefix and each.startswith(prefix))
        below = [n for n in names if n.startswith(prefix) and not n.startswith(inner)]
        if any(n.startswith(tuple(prefix + each for each in siblings)) for n in below):
            sets[prefix] = below
    return sets


def _best(sets: Mapping[str, Collection[str]], where: str) -> str:
    """The prefix of the set to use; a log line names the others."""
    labels = {prefix.rstrip("."): prefix for prefix in sets}
    chosen = labels[best_state({label: sets[prefix] for label, prefix in labels.items()})]
    if len(sets) > 1:
        _report_choice(where, chosen, ", ".join(p or "(none)" for p in sets if p != chosen))
    return chosen


@cache
def _report_left(where: str, prefix: str, count: int, names: str) -> None:
    """Say once which tensors of a file are not used."""
    log.info(
        "%s: %d tensors outside `%s` are not used (%s)", where, count, prefix or "(none)", names
    )


@cache
def _report_choice(where: str, chosen: str, others: str) -> None:
    """Say once which of several sets of weights in a file is used."""
    log.info(
        "%s: taking the weights under `%s`; it also holds %s", where, chosen or "(none)", others
    )

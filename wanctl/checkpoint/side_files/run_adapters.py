"""The adapters that a run folder holds, which sampling adds to the transformer."""

from collections.abc import Callable, Iterator
from pathlib import Path

from wanctl.checkpoint.files.tensor_files import read_metadata
from wanctl.checkpoint.find import Components
from wanctl.checkpoint.lora.apply import Lora
from wanctl.checkpoint.lora.write import find_adapter
from wanctl.log import log
from wanctl.model.variants import HIGH, LOW, Expert


def run_adapters(
    out: Path, dit: Components, fingerprint: Callable[[Components], str]
) -> Iterator[Lora]:
    """Find the adapters in a run folder; logs each, and warns of one for another base.

    Args:
        out: the run folder. `dit` holds the adapter of the only transformer or of the expert for
            high noise, `dit_low` that of the one for low noise.
        dit: the transformer that they are applied to.
        fingerprint: hash of a transformer's weights.

    Raises:
        WeightsError: a file cannot be read.
    """
    places: list[tuple[str, Expert | None, Components]] = [("dit", None, dit)]
    if dit.dit_low:
        places = [("dit", HIGH, dit), ("dit_low", LOW, dit.low_expert)]
    for folder, expert, base in places:
        path = find_adapter(out / folder)
        if path is None:
            continue
        root = (base.dit or (base.root,))[0].parent
        about = read_metadata(path)
        log.info("adapter of this run: %s (step %s), on %s", path, about.get("step", "?"), root)
        trained_on = about.get("base_fingerprint")
        if trained_on and trained_on != fingerprint(base):
            log.warning("%s was trained on other weights (%s) than those it is now applied to (%s)",
                        path, about.get("base") or "not named", root)  # fmt: skip
        yield Lora(path, expert=expert)

"""`wanctl weights inspect` of a LoRA: rank, alpha and the run rule that it brings."""

import math
import re
from pathlib import Path

from wanctl.checkpoint.files.tensor_files import read_metadata, read_tensors, tensor_shapes
from wanctl.checkpoint.inspection.identify import Identity, notes_of
from wanctl.checkpoint.lora.files import lora_path
from wanctl.checkpoint.recognition.recognise import recognise_lora

COLUMNS = ("part", "tensors", "rank", "alpha", "parameters", "size")
# Down matrices of any spelling; their first side is the rank.
DOWN = re.compile(r"(?:lora_A|lora_down|lora\.down)(?:\.\w+)?\.weight$|lora_A$")
ALPHA = ".alpha"


def inspect_lora(source: Path) -> tuple[tuple[str, ...], list[tuple[str, str]], dict[str, str]]:
    """Cells of COLUMNS, rows (topic, text), and the entries of the header.

    Raises:
        WeightsError: the file cannot be read.
    """
    path = lora_path(source)
    shapes = tensor_shapes(path)
    ranks = {shape[0] for name, shape in shapes.items() if DOWN.search(name) and shape}
    alphas = {
        f"{tensor.flatten()[0].item():g}"
        for _, tensor in read_tensors([path], {n for n in shapes if n.endswith(ALPHA)})
        if tensor.numel()
    }
    count = sum(map(math.prod, shapes.values()))
    row = (
        "LoRA", str(len(shapes)), ", ".join(map(str, sorted(ranks))) or "-",
        ", ".join(sorted(alphas, key=float)) or "as the rank", f"{count:,}",
        f"{path.stat().st_size / 1e9:.2f} GB",
    )  # fmt: skip
    known = recognise_lora(source, None)
    notes = notes_of(Identity("lora", known))
    if known:
        notes.insert(1, ("made for", known.variant or ""))
    return row, notes, read_metadata(path)

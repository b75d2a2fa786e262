"""Write `docs/checkpoints.md` from the table in `wanctl/checkpoint/registry/`.

    python docs/write_checkpoints.py [--check]

`--check` ends with 1 where the page is not current.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wanctl.checkpoint.registry import official
from wanctl.checkpoint.registry.rules import rule_text
from wanctl.checkpoint.registry.table import BUILT_IN
from wanctl.checkpoint.registry.types import Checkpoint

OFFICIAL = {row.name for row in official.ROWS}
PAGE = Path(__file__).with_name("checkpoints.md")
INTRODUCTION = """\
# Checkpoints

Written by `make docs` from `wanctl/checkpoint/registry/`; `wanctl weights list` prints the same
table, with the rows of other packages.

`model.weights: FILE` is enough to sample. The names and shapes of its tensors, read from the
header, give the network; where several models have the same tensors, the names of the file, its
folder or the hub id and the header's entries decide, or `model.checkpoint: NAME`. One log line
says what was recognised, by which rule it is run and under which licence it is. What the recipe
sets counts first; a setting that is known to fail gives one warning. Weights whose licence
forbids commercial use need `model.accept_license: NAME`.

`wanctl weights inspect FILE` says what a file is, `wanctl weights list FOLDER --cached` what is
in a folder and in the hub cache. A few-step LoRA under `model.loras` is recognised by its name
and changes the rule as well. A VAE, a text encoder or CLIP that the file does not hold comes from
`model.vae_weights`, `model.text_weights` and `model.image_weights`, or from the official model in
the hub cache.

**layout** is the md5 of the names and shapes of all tensors without prefixes (`name:d0_d1_...`
and `name`, sorted, joined with commas). It is *verified* where the digest of the published file
is known, and else taken from the model that a checkpoint was made from. A licence *as its code*
is that of the code: the card of the weights was not read.
"""
SECTIONS = (
    ("Official models", "model", True),
    ("Models made from them", "model", False),
    ("LoRAs that change the run rule", "lora", False),
    ("VAEs", "vae", False),
    ("Text encoders", "text encoder", False),
    ("Image encoders", "image encoder", False),
    ("Side files", "side file", False),
)


def page() -> str:
    """The text of the page."""
    return "\n".join([INTRODUCTION, *_page_sections(BUILT_IN)])


def _page_sections(rows: Mapping[str, Checkpoint]) -> Iterator[str]:
    for title, kind, is_official in SECTIONS:
        chosen = [row for row in rows.values() if row.kind == kind]
        if kind == "model":
            chosen = [row for row in chosen if (row.name in OFFICIAL) == is_official]
        if chosen:
            yield f"## {title}\n"
            yield from _table(chosen)
            yield ""


def _table(rows: Sequence[Checkpoint]) -> Iterator[str]:
    yield "| `model.checkpoint` | what it is | run rule | licence | layout |"
    yield "|---|---|---|---|---|"
    for row in rows:
        cells = (f"`{row.name}`", _about(row), _rule(row), _licence(row), _layout(row))
        yield f"| {' | '.join(cells)} |"


def _about(row: Checkpoint) -> str:
    """Title, hub ids, network and notes."""
    hub = f" ({', '.join(f'`{each}`' for each in row.hub)})" if row.hub else ""
    network = "" if row.official or not row.variant else f"; network of `{row.variant}`"
    names = f"; names: {', '.join(row.marks)}" if row.marks else ""
    note = f". {row.note[:1].upper()}{row.note[1:]}" if row.note else ""
    return f"{row.title}{hub}{network}{names}{note}"


def _rule(row: Checkpoint) -> str:
    if row.unsupported:
        return f"**not run**: {row.unsupported}"
    fixed = f"; fixed: {', '.join(row.fixed)}" if row.fixed else ""
    return f"{rule_text(row) or '-'}{fixed}"


def _licence(row: Checkpoint) -> str:
    return row.licence if row.commercial else f"**{row.licence}, not for commercial use**"


def _layout(row: Checkpoint) -> str:
    layout = row.layout
    if layout.md5 is None and layout.tensors is None:
        return "not known"
    count = f"{layout.tensors} tensors" if layout.tensors else ""
    parameters = f"{layout.parameters:,} parameters" if layout.parameters else ""
    prefix = f"prefix `{layout.prefix}`" if layout.prefix else ""
    digest = f"`{layout.md5[:8]}`" if layout.md5 else ""
    verified = "verified" if layout.verified else "not verified"
    return ", ".join(filter(None, (digest, count, parameters, prefix, verified)))


def main() -> int:
    """Write the page, or compare it."""
    text = page()
    if "--check" in sys.argv[1:]:
        return int(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

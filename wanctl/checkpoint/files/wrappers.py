"""Choose among several sets of weights in one file: averaged, plain, or of another network.

Sets are named by the keys of the dicts around them (`generator_ema`), or by the prefix of their
tensors (`generator_ema.model.`).
"""

import re
from collections.abc import Collection, Mapping

# Parts of names, in order of preference: averages sample better than the weights of a last step.
AVERAGED = re.compile(r"(^|[._])(ema|averaged?|shadow|polyak)([._]|$)")
PREFERRED = (
    "generator", "state_dict", "model_state_dict", "model", "module", "student", "transformer",
    "dit", "diffusion_model", "net", "network", "unet", "params", "weights",
)  # fmt: skip
# Sets that are not the generator: what trains it, and what was trained to judge it.
OTHER = re.compile(
    r"optim|sched|critic|discrim|fake|teacher|real_score|scaler|rng|loss|grad|momentum|"
    r"exp_avg|reward|text_encoder|cond_stage|vae|first_stage|clip"
)
PARAMETER = re.compile(
    r"(^|[._])(weight|bias|gamma|modulation|emb_pos|scale_shift_table)$|lora|diff"
)


def best_state(states: Mapping[str, Collection[str]]) -> str:
    """The name of the set to use: averaged weights first, if they are complete.

    Args:
        states: name of each set -> names of its tensors; `` names the file itself.
    """
    usable = [name for name in states if not OTHER.search(name.lower())] or list(states)
    counts = {name: sum(bool(PARAMETER.search(key)) for key in states[name]) for name in usable}
    complete = [name for name in usable if counts[name] == max(counts.values())]
    return min(complete, key=_rank)


def _rank(name: str) -> tuple[bool, int, int]:
    parts = name.lower().split(".")
    preferred = min(
        (PREFERRED.index(part) for part in parts if part in PREFERRED), default=len(PREFERRED)
    )
    return not AVERAGED.search(name.lower()), preferred, len(parts)

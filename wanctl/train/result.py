"""The finished model in a training folder: which step it is of."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

WEIGHTS = "diffusion_pytorch_model"


def weight_files(folder: Path) -> list[Path]:
    """The weight file of a trained model, or its shards."""
    return sorted(folder.glob(f"{WEIGHTS}*.safetensors"))


def saved_step(folder: Path) -> int | None:
    """Step written in the header of the model in `folder`; None where none was finished."""
    files = weight_files(folder)
    if not files or not (folder / "config.json").exists():
        return None
    try:
        with safe_open(files[-1], framework="pt") as file:
            step = (file.metadata() or {}).get("step")
    except SafetensorError:
        return None
    return int(step) if step is not None and step.isdigit() else None

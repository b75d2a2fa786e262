"""Find the folder of a language model: named by its path, or by its hub id. Imports no torch."""

from pathlib import Path

from wanctl.checkpoint.files.folders import hub_snapshot, weight_files
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import HUB_ID
from wanctl.log import log
from wanctl.vlm.chat import ChatError

_SETTINGS: tuple[str, ...] = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.py")
# what to download, in order: the second only where the repository has nothing of the first
_WEIGHTS = ("*.safetensors", "*.bin")


def find_folder(model: str, *, weights: bool) -> Path:
    """The folder that holds a model.

    A hub id that is not in the local cache is downloaded, and a log line says what and whereto.

    Args:
        model: a folder, one of the hub cache too, or a hub id.
        weights: whether the weights are needed too; without them only small files are downloaded.

    Raises:
        ChatError: there is no such folder, nothing to download, or not what a model consists of.
    """
    path = Path(model).expanduser()
    if path.is_file():
        raise ChatError(
            f"model {model}: is a file; name the folder with config.json and model.safetensors, or "
            "serve the file (`llama-server -m FILE`) and take `backend: openai`"
        )
    if not path.is_dir():
        if not HUB_ID.fullmatch(model):
            raise ChatError(
                f"model: no folder {model!r} in {Path.cwd()}, and it is no hub id (OWNER/NAME)"
            )
        return _snapshot(model, weights=weights)
    try:
        folder = hub_snapshot(path)
    except WeightsError as error:
        raise ChatError(f"model {error}") from None
    if problem := folder_problem(folder, weights=True):
        raise ChatError(f"model {model}: {problem}")
    return folder


def folder_problem(folder: Path, *, weights: bool) -> str:
    """What a folder lacks to be a language model in the published layout; "" where nothing."""
    if not (folder / "config.json").is_file():
        return f"{_what_it_is(folder)}; need config.json, model*.safetensors and the tokenizer"
    if not (folder / "tokenizer_config.json").is_file():
        return "has no tokenizer_config.json; need the tokenizer's files beside config.json"
    try:
        if weights and not weight_files(folder, "model"):
            others = sorted(
                {path.suffix for path in folder.iterdir() if path.stat().st_size > 2**20}
            )
            has = f" (it has {', '.join(others)})" if others else ""
            return f"holds no weights{has}; need model.safetensors, or its shards"
    except WeightsError as error:
        return str(error)
    return ""


def _what_it_is(folder: Path) -> str:
    if (folder / "adapter_config.json").is_file():
        return "is an adapter (PEFT) without its base; merge it into the base and name the result"
    if (folder / "model_index.json").is_file():
        return "is a diffusers pipeline, which makes pictures or videos and no text"
    if any(folder.glob("*.gguf")):
        return "holds GGUF files; serve one (`llama-server -m FILE`) and take `backend: openai`"
    return "has no config.json"


def _snapshot(model: str, *, weights: bool) -> Path:
    """The snapshot of a hub model: from the cache where it is whole, else downloaded."""
    # Half a second that a folder need not pay.
    from huggingface_hub import constants, snapshot_download  # noqa: PLC0415

    kinds = _WEIGHTS if weights else ("",)
    problem = ""
    for local_only in (True, False):
        if not local_only:
            log.info("%s: not in the hub cache; downloading it from the hub to %s",
                     model, constants.HF_HUB_CACHE)  # fmt: skip
        for kind in kinds:
            wanted = [pattern for pattern in (*_SETTINGS, kind) if pattern]
            try:
                folder = Path(
                    snapshot_download(model, allow_patterns=wanted, local_files_only=local_only)
                )
            # The hub client raises a dozen unrelated types for "not cached", "no network", "no
            # such model" and "not allowed"; to the user they are one case.
            except Exception as error:
                lines = str(error).strip().splitlines()
                problem = f"no download ({lines[0] if lines else type(error).__name__})"
                break
            problem = folder_problem(folder, weights=weights)
            if not problem:
                return folder
    raise ChatError(
        f"model {model}: no such folder in {Path.cwd()}, not in the hub cache "
        f"{constants.HF_HUB_CACHE}, and {problem}; get it with `hf download {model}`, or name a "
        "folder"
    )

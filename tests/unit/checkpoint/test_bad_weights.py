"""`wanctl weights` answers bad files with one line and exit code 2, and leaves no partial file."""

import errno
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_models import write_official

from wanctl.checkpoint.files import lazy_tensors as lazy
from wanctl.cli.main import main

INCOMPLETE = "not a complete safetensors file"


class Code:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def write_sources() -> None:
    """Write files that hold no model, each under the name of its case below."""
    Path("empty").mkdir()
    Path("empty.safetensors").touch()
    Path("empty.pth").touch()
    Path("text.safetensors").write_text("words, not tensors\n" * 9)
    Path("notes.txt").write_text("words")
    torch.save({"weight": Code()}, "code.pth")
    Path("old.pth").write_bytes(pickle.dumps({"weight": Code()}))
    torch.save([1, 2], "list.pth")
    changes = {"blocks.0.attn1.to_q.lora_A.weight": torch.zeros(4, 32)}
    save_file(changes, "lora.safetensors")
    Path("lora").mkdir()
    Path("lora/adapter_config.json").write_text("{}")
    save_file(changes, "lora/adapter_model.safetensors")


SOURCES = {
    "nowhere": "no file or folder 'nowhere'",
    "empty": "holds no weights known here",
    "empty.safetensors": "is empty; download or save it again",
    "empty.pth": "is empty; download or save it again",
    "text.safetensors": "is a text ('words, not tensors words, not tensors",
    "notes.txt": "is a text ('words'), not weights",
    "code.pth": "its code is not run (it wants posix.mkdir); save the state dict alone",
    "old.pth": "not a complete file of torch.save",
    "list.pth": "holds no dict of named tensors, but a list",
    "lora.safetensors": "is a LoRA, no model; name it under `model.loras`",
    "lora": "is a LoRA, no model; name it under `model.loras`",
}


def error_line(capsys, *arguments: str, code: int = 2) -> str:
    """The last line that a command prints."""
    with pytest.raises(SystemExit) as stop:
        main(["weights", *arguments])
    captured = capsys.readouterr()
    assert (stop.value.code, captured.out) == (code, "")
    (line,) = captured.err.splitlines()
    return line


def files(folder=Path()) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", SOURCES)
def test_files_without_a_model_are_refused(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    write_sources()
    before = files()
    # a LoRA can be inspected, and converted to layouts of its own
    is_lora = "is a LoRA" in SOURCES[name]
    for command in (["inspect", name], ["check", name])[is_lora:]:
        assert SOURCES[name] in error_line(capsys, *command)
    line = error_line(capsys, "convert", name, "to", "--layout=single")
    assert (f"{name} is a LoRA" if is_lora else SOURCES[name]) in line
    assert files() == before
    assert not Path("ran").exists()


@pytest.fixture
def model(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    write_official(tmp_path / "model", "wan2.1-t2v-1.3b")
    return "model"


def test_a_config_of_another_model(model, tmp_path, capsys):
    write_official(tmp_path / "other", "wan2.1-i2v-14b-480p")
    shutil.copy("other/config.json", "model/config.json")
    message = "model/config.json: in_dim 36, and the tensors have 16; take the config.json of these"
    assert message in error_line(capsys, "convert", model, "to", "--layout", "diffusers")
    assert not Path("to").exists()


@pytest.mark.parametrize(
    ("to", "layout", "message"),
    [
        ("file", "diffusers", "file: is a file, and a folder is needed"),
        ("file/below", "diffusers", "file/below/transformer: Not a directory; name another place"),
        ("folder.safetensors", "single", "is a folder, and a file is needed"),
        ("foreign.safetensors", "single", "exists, and no conversion wrote it; remove it"),
        ("foreign", "official", "00002-of-00003.safetensors: exists, and no conversion wrote it"),
        ("foreign", "single", "vae.safetensors: exists, and no conversion wrote it"),
        ("/proc/nothing", "diffusers", "/proc/nothing"),
    ],
)
def test_impossible_targets_are_refused(model, capsys, to, layout, message):
    Path("file").write_text("kept")
    Path("folder.safetensors").mkdir()
    Path("foreign.safetensors").write_text("kept")
    Path("foreign").mkdir()
    for name in ("diffusion_pytorch_model-00002-of-00003", "vae"):
        save_file({"kept": torch.zeros(2)}, f"foreign/{name}.safetensors")
    before = {name: Path(name).read_bytes() for name in files()}
    part = "transformer" if layout == "official" else "vae"
    more = [] if layout == "diffusers" else ["--part", part]
    assert message in error_line(capsys, "convert", model, to, "--layout", layout, *more)
    assert {name: Path(name).read_bytes() for name in files()} == before


def test_parent_folders_are_created(model, capsys):
    main_arguments = ["weights", "convert", model, "a/b/c.safetensors", "--layout", "single"]
    with pytest.raises(SystemExit) as stop:
        main([*main_arguments, "--part", "vae"])
    assert (stop.value.code or 0, capsys.readouterr().out) == (0, "a/b/c.safetensors\n")
    assert files(Path("a")) == {"b/c.safetensors"}


@pytest.mark.parametrize("layout", ["diffusers", "official"])  # the second writes `.pth` as well
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; make room"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system; name another"),
        (KeyboardInterrupt(), "stopped; the same command goes on from here"),
    ],
)
def test_no_partial_file_is_left(model, monkeypatch, capsys, layout, error, message):
    real, seen = lazy.write_safetensors, []

    class Failing:
        """A bar that fails in the middle of the VAE, the second file."""

        def advance(self, count):
            seen.append(count)
            if len(seen) > 140:
                raise error

    def with_failing_bar(path, tensors, *rest):
        return real(path, tensors, *rest[:-1], Failing())

    monkeypatch.setattr("wanctl.checkpoint.convert.run.write_safetensors", with_failing_bar)
    monkeypatch.setattr(lazy, "write_safetensors", with_failing_bar)
    arguments = ["convert", model, "to", "--layout", layout]
    code = 130 if isinstance(error, KeyboardInterrupt) else 2
    assert message in error_line(capsys, *arguments, code=code)
    assert len(seen) == 141
    whole = files(Path("to"))
    assert [Path(name).name for name in whole] == ["diffusion_pytorch_model.safetensors"]
    monkeypatch.setattr("wanctl.checkpoint.convert.run.write_safetensors", real)
    monkeypatch.setattr(lazy, "write_safetensors", real)
    with pytest.raises(SystemExit) as stop:
        main(["weights", *arguments])
    assert not stop.value.code
    assert len(files(Path("to"))) > 3

"""What is said of a model that cannot run: one line, before any weights are read."""

import json
import shutil

import pytest
import safetensors.torch
from transformers import CLIPVisionConfig

from tests.unit.vlm.small_models import qwen2_text, qwen3_vl
from tests.unit.vlm.test_transformers_model import options, request, video
from wanctl.errors import UserError
from wanctl.vlm.build import build_chat_model
from wanctl.vlm.chat import ChatError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return qwen3_vl(tmp_path_factory.mktemp("whole") / "model")


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def keep_only(folder, *names):
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()


def no_template(folder):
    (folder / "chat_template.jinja").unlink()


def no_processor(folder):
    (folder / "preprocessor_config.json").unlink()
    (folder / "video_preprocessor_config.json").unlink()


def no_pictures(folder):
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("<|image_pad|>", ""))


def no_user_text(folder):
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("part.text", "''"))


def own_code(folder):
    edit(folder / "config.json", model_type="own_model", auto_map={"AutoConfig": "code.OwnConfig"})


FAULTS = {
    "empty": (keep_only, "has no config.json; need config.json, model"),
    "broken config": (
        lambda folder: (folder / "config.json").write_text("{"), "cannot read config.json with"
    ),
    "unknown kind": (
        lambda folder: edit(folder / "config.json", model_type="own_model"), "own_model"
    ),
    "no language model": (
        lambda folder: (folder / "config.json").write_text(CLIPVisionConfig().to_json_string()),
        "is a 'clip_vision_model', which writes no text",
    ),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(), "holds no weights; need model.saf"
    ),
    "GGUF": (
        lambda folder: (keep_only(folder), (folder / "m.gguf").touch()), "take `backend: openai`"
    ),
    "adapter": (
        lambda folder: (keep_only(folder), (folder / "adapter_config.json").touch()), "an adapter"
    ),
    "pipeline": (
        lambda folder: (keep_only(folder), (folder / "model_index.json").touch()), "is a diffusers"
    ),
    "no tokenizer": (
        lambda folder: keep_only(folder, "config.json", "model.safetensors"), "has no tokenizer_"
    ),
    "no template": (no_template, "has no chat template"),
    "no processor": (no_processor, "model .*: (cannot read|has no) .*processor"),
    "no pictures in the template": (no_pictures, "its chat template shows no pictures"),
    "no text in the template": (no_user_text, "does not show the user's text"),
    "broken template": (
        lambda folder: (folder / "chat_template.jinja").write_text("{% for %}"),
        "cannot read the chat template",
    ),
    "code of its own": (own_code, "set `trust_remote_code: true` to run it"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_cannot_run_is_refused_before_its_weights_are_read(fault, folder):
    make, message = FAULTS[fault]
    make(folder)
    with pytest.raises(ChatError, match=message) as caught:
        build_chat_model(options(folder)).check()
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def lose_a_tensor(folder):
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors.pop(next(name for name in tensors if name.endswith("q_proj.weight")))
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def cut_short(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("make", "message"),
    [(lose_a_tensor, "lack 1 tensors .*q_proj"), (cut_short, "cannot read the weights")],
)
def test_weights_that_are_not_whole_are_refused(make, message, folder):
    make(folder)
    model = build_chat_model(options(folder))
    model.check()
    with pytest.raises(ChatError, match=message) as caught:
        model.ask([request("a", video(2))])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("no/such/folder", "no folder 'no/such/folder' in .*no hub id"),
        ("nowhere", "no folder 'nowhere'"),
        ("FILE", "is a file; name the folder"),
    ],
)
def test_a_path_that_is_no_folder_is_refused(model, message, tmp_path):
    if model == "FILE":
        model = tmp_path / "model.gguf"
        model.touch()
    with pytest.raises(ChatError, match=message):
        build_chat_model(options(model)).check()


def test_no_model_and_no_such_device_are_refused(folder):
    with pytest.raises(ChatError, match="none is named"):
        build_chat_model(options(None))
    with pytest.raises(UserError, match="device: got 'cuda:99'"):
        build_chat_model(options(folder, device="cuda:99")).check()


class Hub:
    """Stands in for the hub client: has some files cached and others to download."""

    def __init__(self, source, cache, cached, *, online):
        self.source, self.cache, self.online, self.calls = source, cache, online, []
        for name in cached:
            cache.mkdir(exist_ok=True)
            shutil.copy(source / name, cache)

    def __call__(self, name, allow_patterns, *, local_files_only):
        self.calls.append((local_files_only, [p for p in allow_patterns if "safe" in p]))
        if not local_files_only:
            if not self.online:
                raise OSError("no network\nat all")
            for pattern in allow_patterns:
                for path in self.source.glob(pattern):
                    self.cache.mkdir(exist_ok=True)
                    shutil.copy(path, self.cache)
        elif not self.cache.exists():
            raise FileNotFoundError("not cached")
        return str(self.cache)


def test_a_hub_model_is_downloaded_when_it_is_needed_and_small_files_first(
    whole, tmp_path, monkeypatch, caplog
):
    hub = Hub(whole, tmp_path / "cache", [], online=True)
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    model = build_chat_model(options("owner/name"))
    with caplog.at_level("INFO"):
        model.check()
        assert not (hub.cache / "model.safetensors").exists()
        answers = model.ask([request("a", video(2))])
    assert answers[0].finish == "length"
    assert caplog.text.count("owner/name: not in the hub cache; downloading it") == 2
    hub.calls.clear()
    again = build_chat_model(options("owner/name"))
    again.check()
    assert again.ask([request("a", video(2))]) == answers
    assert all(local_only for local_only, _ in hub.calls)


def test_without_network_the_error_names_the_command_that_downloads(whole, tmp_path, monkeypatch):
    hub = Hub(whole, tmp_path / "cache", ["config.json"], online=False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    with pytest.raises(ChatError, match=r"no download \(no network\).*`hf download owner/name`"):
        build_chat_model(options("owner/name")).ask([request("a", video(2))])


def test_a_language_model_is_refused_frames_before_its_weights_are_read(tmp_path):
    folder = qwen2_text(tmp_path / "text")
    (folder / "model.safetensors").write_bytes(b"never read")
    model = build_chat_model(options(folder))
    model.check()
    with pytest.raises(ChatError, match="takes text and no pictures"):
        model.ask([request("a", video(2))])

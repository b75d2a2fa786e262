"""`wanctl sample` with `sample.rewrite`: what is sampled, shown, kept and asked for."""

import json

import pytest
from PIL import Image

from tests.unit.sample.rewrite.scripted import ENGLISH, STYLE, ScriptedModel, answer
from tests.unit.vlm.stub_server import StubServer
from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.errors import UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.recipe.load import load_recipe
from wanctl.sample import run
from wanctl.video.encode import read_metadata

FAST = ["sample.steps=1", "sample.frames=1", "sample.height=32", "sample.width=32"]
MODEL = ["sample.rewrite.enabled=true", "sample.rewrite.model.model=scripted"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A run folder with untrained weights of the demo's sizes."""
    folder = tmp_path_factory.mktemp("run")
    tiny = VARIANTS["tiny"]
    save_dit(WanModel(tiny.dit), folder / "dit")
    save_vae(WanVAE(tiny.vae), folder / "vae")
    return folder


@pytest.fixture
def model(monkeypatch):
    """The model that recipes get, whatever they name."""
    made = ScriptedModel(lambda _: answer("A fox runs over a field."))
    monkeypatch.setattr(run, "build_chat_model", lambda options: made)
    return made


def header(path):
    metadata = read_metadata(path) if path.suffix == ".mp4" else Image.open(path).text
    return dict(metadata)


def test_the_rewritten_prompt_is_sampled_shown_and_saved_with_the_typed_one(out, model, caplog):
    caplog.set_level("INFO")
    recipe = load_recipe("tiny", [*FAST, *MODEL])
    first, second = run.sample(recipe, "a fox", out, repeat=2)
    text = f"{STYLE}. A fox runs over a field. {ENGLISH}"
    said = header(first)
    assert (said["prompt"], said["typed_prompt"], said["rewritten_by"]) == (
        text,
        "a fox",
        "scripted",
    )
    assert first.name.startswith("a-fox-s0-")
    assert "prompt as typed: a fox" in caplog.text
    assert f"prompt rewritten: {text}" in caplog.text
    assert len(model.requests) == 1  # two seeds
    assert run.sample(recipe, "a fox", out, repeat=3)[:2] == [first, second]
    assert len(model.requests) == 1  # a later run
    plain = run.sample(load_recipe("tiny", FAST), "a fox", out)[0]
    assert plain.name != first.name
    assert "typed_prompt" not in header(plain)
    (kept,) = (out / "rewrites").iterdir()
    assert json.loads(kept.read_text())["rewritten"] == text


def test_a_server_rewrites_and_one_that_is_not_there_is_an_error(out, tmp_path):
    rewritten = answer("A hawk circles over a field.")
    with StubServer(lambda _: rewritten) as server:
        named = f"sample.rewrite.model={{backend: openai, model: stub, url: {server.url}}}"
        recipe = load_recipe("tiny", [*FAST, "sample.rewrite.enabled=true", named])
        (path,) = run.sample(recipe, "a hawk", out)
    assert header(path)["prompt"].startswith(f"{STYLE}. A hawk circles over a field.")
    assert header(path)["rewritten_by"] == "stub"
    assert run.sample(recipe, "a hawk", out) == [path]  # the server is not needed again
    with pytest.raises(UserError, match=f"sample.rewrite.model: {server.url}"):
        run.sample(recipe, "a stork", out)


def test_a_plan_asks_no_model_and_a_failed_model_writes_nothing(out, model, tmp_path, monkeypatch):
    recipe = load_recipe("tiny", [*FAST, *MODEL])
    assert run.sample(recipe, "a bear", tmp_path, plan_only=True) == []
    assert model.requests == []

    def broken(_):
        raise UserError("no such model")

    monkeypatch.setattr(model, "ask", broken)
    with pytest.raises(UserError, match="no such model"):
        run.sample(recipe, "a bear", out)
    assert not list((out / "samples").glob("a-bear*"))
    assert model.closed == 1


def test_lines_of_a_file_say_whether_they_are_rewritten(out, model, tmp_path):
    file = tmp_path / "prompts.jsonl"
    lines = [{"prompt": "a hare"}, {"prompt": "a crane", "rewrite.enabled": False}]
    file.write_text("\n".join(map(json.dumps, lines)))
    hare, crane = run.sample(load_recipe("tiny", [*FAST, *MODEL]), str(file), out)
    assert header(hare)["typed_prompt"] == "a hare"
    assert header(crane)["prompt"] == "a crane"
    file.write_text(json.dumps({"prompt": "a hare", "rewrite": {"model": {"model": "x"}}}))
    with pytest.raises(UserError, match=r"rewrite\.model\.model: holds for the whole run"):
        run.sample(load_recipe("tiny", [*FAST, *MODEL]), str(file), out)


def test_without_a_model_prompts_are_tidied(out):
    recipe = load_recipe("tiny", [*FAST, "sample.rewrite.enabled=true"])
    (path,) = run.sample(recipe, '  "a  wolf ,, howls" ', out)
    said = header(path)
    assert (said["prompt"], said["rewritten_by"]) == ("a wolf, howls", "rules")
    assert said["typed_prompt"] == '"a  wolf ,, howls"'

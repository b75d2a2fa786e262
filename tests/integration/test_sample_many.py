"""`wanctl sample` with many prompts: overrides per line, batches, repeats, grids, going on."""

import json

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.cli.main import main
from wanctl.errors import UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.recipe.load import load_recipe
from wanctl.sample import pipeline
from wanctl.sample.denoise import expert_loader
from wanctl.sample.grid import CELL_PX, GAP_PX, make_grid
from wanctl.sample.run import sample
from wanctl.video.encode import read_metadata

SMALL = ("sample.height=32", "sample.width=48", "sample.steps=2", "device=cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Random weights of the demo's sizes."""
    folder = tmp_path_factory.mktemp("weights")
    tiny = VARIANTS["tiny"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dit = WanModel(tiny.dit)
        torch.nn.init.normal_(dit.head.head.weight, std=0.02)
        save_dit(dit, folder / "dit")
        save_vae(WanVAE(tiny.vae), folder / "vae")
    return folder


@pytest.fixture
def calls(monkeypatch):
    """Sizes of the batches that were denoised, and how often a transformer was loaded."""
    seen = {"batches": [], "loads": 0}
    load_dit = expert_loader.load_dit

    class Counted(pipeline.Denoising):
        def __init__(self, **keys):
            seen["batches"].append(len(keys["noise"]))
            super().__init__(**keys)

    def counted_load(*args, **keys):
        seen["loads"] += 1
        return load_dit(*args, **keys)

    monkeypatch.setattr(pipeline, "Denoising", Counted)
    monkeypatch.setattr(expert_loader, "load_dit", counted_load)
    return seen


def recipe(model, *overrides):
    return load_recipe("tiny", [f"model.weights={model}", *SMALL, *overrides])


def written(folder, *lines, name="many.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def test_each_line_is_made_as_it_says_with_one_loaded_model(model, tmp_path, calls):
    prompts = written(
        tmp_path,
        {"prompt": "a fox", "seed": 3, "frames": 1},
        {"prompt": "a bear", "size": "64x32", "frames": 5, "fps": 8},
        {"prompt": "a fox", "seed": 3, "frames": 1, "guide_scale": 1},
        {"prompt": "a crow", "frames": 1, "negative_prompt": "dark"},
    )
    loaded = recipe(model, "sample.save_latents=true")
    fox, bear, unguided, crow = sample(loaded, prompts, tmp_path)
    assert calls["loads"] == 1
    assert sorted(calls["batches"]) == [1, 1, 2]  # fox and crow differ in words and noise alone
    assert fox.name.startswith("a-fox-s3-")
    assert fox.suffix == crow.suffix == ".png"
    assert unguided != fox
    with av.open(str(bear)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (64, 32, 8)
    said = read_metadata(crow)
    assert (said["prompt"], said["negative_prompt"], said["seed"]) == ("a crow", "dark", "0")
    assert "negative_prompt: dark" in said["recipe"]
    # alone, with the same words on the command line
    extra = ("sample.frames=1", "sample.negative_prompt=dark", "sample.save_latents=true")
    [alone] = sample(recipe(model, *extra), "a crow", tmp_path / "alone")
    assert alone.name == crow.name
    ours, theirs = (load_file(p.with_suffix(".safetensors"))["latents"] for p in (crow, alone))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), [4]),
        (("sample.batch=1",), [1] * 4),
        (("sample.batch=3",), [1, 3]),
        (("model.precision=reference",), [1] * 4),
        (("sample.height=480", "sample.width=832", "sample.steps=1"), [1] * 4),
    ],
)
def test_lines_of_one_kind_share_a_batch_where_it_pays(
    model, tmp_path, calls, monkeypatch, overrides, expected
):
    # What is made does not matter here, and a large picture takes a while.
    monkeypatch.setattr(
        pipeline.Denoising, "run_until", lambda self, *_: torch.zeros(calls["batches"][-1], 1)
    )
    monkeypatch.setattr(
        pipeline.SamplingPipeline,
        "write",
        lambda self, request, latents: self.outputs.path(request).touch(),
    )
    lines = [{"prompt": f"number {i}", "seed": i} for i in range(4)]
    paths = sample(
        recipe(model, "sample.frames=1", *overrides), written(tmp_path, *lines), tmp_path
    )
    assert sorted(calls["batches"]) == expected
    assert len(set(paths)) == 4


def test_a_run_goes_on_where_it_was_stopped(model, tmp_path, calls):
    lines = [{"prompt": f"number {i}", "frames": 1} for i in range(3)]
    first = sample(recipe(model), written(tmp_path, *lines), tmp_path)
    times = [path.stat().st_mtime_ns for path in first]
    first[1].unlink()
    calls["batches"].clear()
    again = sample(
        recipe(model), written(tmp_path, *lines, {"prompt": "more", "frames": 1}), tmp_path
    )
    assert again[:3] == first
    assert calls["batches"] == [2]
    assert [first[0].stat().st_mtime_ns, first[2].stat().st_mtime_ns] == [times[0], times[2]]
    calls["loads"] = 0
    assert sample(recipe(model), written(tmp_path, *lines), tmp_path) == first
    assert calls["loads"] == 0


def test_a_table_and_a_list_of_the_same_lines_make_the_same_files(model, tmp_path):
    (tmp_path / "a.csv").write_text("prompt,seed,frames\na fox,3,1\na bear,,1\n")
    listed = written(
        tmp_path, {"prompt": "a fox", "seed": 3, "frames": 1}, {"prompt": "a bear", "frames": 1}
    )
    made = sample(recipe(model), listed, tmp_path)
    assert sample(recipe(model), str(tmp_path / "a.csv"), tmp_path) == made


def test_repeats_count_seeds_up_and_a_grid_has_a_row_per_prompt(model, tmp_path, caplog):
    loaded = recipe(model, "sample.frames=1", "sample.seed=5", "sample.grid=true")
    prompts = written(tmp_path, {"prompt": "a fox"}, {"prompt": "a bear", "seed": 9})
    with caplog.at_level("INFO", logger="wanctl"):
        *made, grid = sample(loaded, prompts, tmp_path, repeat=3)
    assert [path.name.rsplit("-", 1)[0] for path in made] == [
        "a-fox-s5", "a-fox-s6", "a-fox-s7", "a-bear-s9", "a-bear-s10", "a-bear-s11"
    ]  # fmt: skip
    assert "seeds 5, 6, 7, 9, 10, 11" in caplog.messages
    assert grid.parent == made[0].parent
    with Image.open(grid) as picture:
        sheet = np.asarray(picture)
    assert sheet.shape[1] == 3 * (CELL_PX + GAP_PX) + GAP_PX
    with Image.open(made[1]) as picture:
        left = GAP_PX + CELL_PX + GAP_PX + (CELL_PX - 48) // 2
        assert (sheet[GAP_PX : GAP_PX + 32, left : left + 48] == np.asarray(picture)).all()
    assert read_metadata(grid)["tiles"].splitlines() == [path.name for path in made]


def test_a_grid_of_videos_is_a_video(model, tmp_path):
    loaded = recipe(model, "sample.frames=5", "sample.grid=true", "sample.grid_columns=2")
    *made, grid = sample(loaded, "a fox", tmp_path, repeat=2)
    assert grid.suffix == ".mp4"
    with av.open(str(grid)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 5
    assert frames[0].width == 2 * (CELL_PX + GAP_PX) + GAP_PX
    assert len(made) == 2


def test_labels_say_what_differs_and_nothing_else(model, tmp_path, monkeypatch):
    labels = []

    def look(tiles, *args, **more):
        labels.extend(tile.label for tile in tiles)
        return make_grid(tiles, *args, **more)

    monkeypatch.setattr("wanctl.sample.grid.make_grid", look)
    loaded = recipe(model, "sample.frames=1", "sample.grid=true")
    sample(loaded, written(tmp_path, {"prompt": "a fox"}), tmp_path)
    lines = ({"prompt": "a fox", "guide_scale": 1}, {"prompt": "a fox", "guide_scale": 5})
    sample(loaded, written(tmp_path, *lines), tmp_path)
    assert labels == ["seed 0: a fox", "guide_scale 1: a fox", "guide_scale 5: a fox"]


def test_random_seeds_are_drawn_once_for_all_and_said(model, tmp_path, caplog):
    loaded = recipe(model, "sample.frames=1", "sample.seed=-1")
    with caplog.at_level("INFO", logger="wanctl"):
        made = sample(loaded, written(tmp_path, {"prompt": "a"}, {"prompt": "b"}), tmp_path)
    seeds = {read_metadata(path)["seed"] for path in made}
    assert len(seeds) == 1
    assert f"seed {seeds.pop()}" in caplog.messages


def test_inputs_lie_beside_the_file_of_prompts(model, tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    line = {"prompt": "a", "task": "i2v", "image": "nowhere.png"}
    with pytest.raises(UserError, match=r"many\.jsonl:1: .*there/nowhere\.png: no such file"):
        sample(recipe(model), written(folder, line), tmp_path / "out")


def test_mistakes_of_all_lines_are_told_with_their_places_before_any_work(model, tmp_path):
    prompts = written(
        tmp_path,
        {"prompt": "a", "height": 33},
        {"prompt": "b"},
        {"prompt": "c", "solver": "unipcc"},
        {"prompt": "d", "seed": "x"},
    )
    with pytest.raises(UserError) as caught:
        sample(recipe(model), prompts, tmp_path / "out")
    first, second, third = str(caught.value).splitlines()
    assert first.endswith("many.jsonl:1: height: got 33; must be a multiple of 16, e.g. 32")
    assert "many.jsonl:3: sample.solver: " in second
    assert "many.jsonl:4: seed: got 'x'; must be a whole number" in third
    assert not (tmp_path / "out").exists()


def test_the_command_prints_what_it_made(model, tmp_path, capsys):
    arguments = ["sample", "a fox", "--repeat", "2", "--recipe", "tiny", "--out", str(tmp_path)]
    for override in (f"model.weights={model}", "sample.frames=1", *SMALL):
        arguments += ["--set", override]
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert not caught.value.code
    printed = capsys.readouterr().out.splitlines()
    assert [line.rsplit("/", 1)[1][:8] for line in printed] == ["a-fox-s0", "a-fox-s1"]


def test_no_repeats_are_refused(model, tmp_path):
    with pytest.raises(UserError, match="--repeat: got 0; must be 1 to 10000"):
        sample(recipe(model), "a fox", tmp_path / "out", repeat=0)

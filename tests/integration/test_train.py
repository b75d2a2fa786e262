"""Both trainers from a data set on disk, killed in the middle and started again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch
from diffusers import AutoencoderKLWan
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

from training_world import SMALL_VAE, make_data_set, write_vae

from wanctl.checkpoint.convert.plan import ConversionOptions
from wanctl.checkpoint.convert.run import convert
from wanctl.checkpoint.load import load_vae
from wanctl.checkpoint.save import save_vae
from wanctl.checkpoint.tiny_decoder import load_tiny_decoder
from wanctl.cli.main import app
from wanctl.data.captions import read_captions
from wanctl.data.dataset import DatasetDir, DatasetError
from wanctl.data.table_order import record_tables
from wanctl.demo.nearest import compare
from wanctl.errors import UserError
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import WAN22_VAE, VAEShape
from wanctl.recipe.load import load_recipe
from wanctl.train.dit.run import train_dit
from wanctl.train.vae.run import train_vae
from wanctl.video.encode import read_metadata, write_video

RECIPE = """
curate: {{decode: {{workers: 1}}}}
caption: {{backends: [sidecar]}}
model: {{variant: tiny{weights}}}
train_vae:
  steps: 14
  clip_fps: 8
  buckets:
    - {{frames: 5, height: 32, width: 32, batch_size: 1}}
    - {{frames: 1, height: 32, width: 64, batch_size: 2}}
  optimizer: {{lr: 0.001, warmup_steps: 4, decay: cosine}}
  holdout: 0.3
  eval_every: 7
  preview_every: 7
  checkpoint_every: 4
  trackers: []
  loss:
    perceptual: {{weight: 3, frames: 1}}
    adversarial: {{weight: 0.5, from_step: 3, width: 8, layers: 2}}
train_dit:
  steps: 16
  clip_fps: 8
  buckets:
    - {{frames: 5, height: 32, width: 32, batch_size: 2}}
    - {{frames: 1, height: 32, width: 64, batch_size: 2}}
  optimizer: {{lr: 0.001, warmup_steps: 4, decay: cosine}}
  holdout: 0.3
  eval_every: 8
  preview_every: 16
  preview_steps: 2
  checkpoint_every: 4
  trackers: []
  windows_per_clip: 2
"""
WORKER = Path(__file__).with_name("train_worker.py")


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """A data set of four clips of two sources; the last one has three frames only."""
    return make_data_set(tmp_path_factory.mktemp("footage"))


@pytest.fixture
def loaded(tmp_path, footage):
    def load(*overrides, weights=""):
        path = tmp_path / "small.yaml"
        path.write_text(RECIPE.format(weights=weights))
        return load_recipe(str(path), [f"dataset.path={footage}", *overrides])

    return load


def kill_in_the_middle(command, loaded, out, after_steps):
    """Run the real command and kill it without warning once it has done some steps."""
    arguments = [sys.executable, "-m", "wanctl", command, "--recipe", str(loaded.path)]
    arguments += ["--set", f"dataset.path={loaded.recipe.dataset.path}", "--out", str(out)]
    metrics = out / command.removeprefix("train-") / "metrics.jsonl"
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while process.poll() is None:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= after_steps:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    return metrics


@pytest.mark.parametrize(("command", "train"), [("train-vae", train_vae), ("train-dit", train_dit)])
def test_killed_and_started_again_equals_uninterrupted(loaded, tmp_path, caplog, command, train):
    part = command.removeprefix("train-")
    full, killed = tmp_path / "full", tmp_path / "killed"
    write_vae(tmp_path / "vae_weights")
    recipe = loaded(weights=f", vae_weights: {tmp_path / 'vae_weights'}")
    train(recipe, full)
    steps = getattr(recipe.recipe, f"train_{part}").steps
    metrics = kill_in_the_middle(command, recipe, killed, after_steps=6)
    assert not (killed / part / "config.json").exists()
    caplog.set_level("INFO", "wanctl")
    train(recipe, killed)
    assert f"{command}: continuing at step" in caplog.text
    assert metrics.read_bytes() == (full / part / "metrics.jsonl").read_bytes()
    for name in ("config.json", "recipe.yaml", "diffusion_pytorch_model.safetensors"):
        assert (killed / part / name).read_bytes() == (full / part / name).read_bytes(), name
    preview = f"previews/step-{steps:06d}.png"
    assert (killed / part / preview).read_bytes() == (full / part / preview).read_bytes()


def test_every_clip_is_trained_on_or_named(loaded, tmp_path, caplog):
    caplog.set_level("INFO", "wanctl")
    buckets = "[{frames: 9, height: 32, width: 32}, {frames: 49, height: 32, width: 32}]"
    weights = "{source: {'*clip0*': 3}, height: {'>40': 0}}"
    keys = ("train_vae.steps=1", f"train_vae.buckets={buckets}", f"train_vae.weights={weights}")
    train_vae(loaded(*keys), tmp_path)
    assert "weights by source: *clip0* x3: 2 clips, others x1: 1" in caplog.text
    assert "weights.height: no clip fits '>40'" in caplog.text
    with pytest.raises(UserError, match="no filter or column named 'hight'; did you mean 'height'"):
        train_vae(loaded(*keys[:2], "train_vae.weights={hight: {'>40': 0}}"), tmp_path / "other")
    nothing = "train_vae.weights={height: {'*': 0}}"
    with pytest.raises(UserError, match="all clips have weight 0; change `weights`"):
        train_vae(loaded(*keys[:2], nothing), tmp_path / "other")
    assert "3 frames, the shortest bucket needs 9" in caplog.text
    assert "1 of 4 clips serve no bucket" in caplog.text
    assert "bucket 9x32x32: 2 clips, 1 held out" in caplog.text
    assert (
        "of the same latents at 49x32x32 `position` gives 16 and `sample` 3328 times" in caplog.text
    )
    assert "bucket 49x32x32: 0 clips, 0 held out; never drawn" in caplog.text
    assert "next: wanctl train-dit --recipe" in caplog.text


def test_the_trained_vae_is_what_train_dit_takes(loaded, tmp_path, caplog, footage):
    caplog.set_level("INFO", "wanctl")
    short = ("train_vae.steps=2", "train_dit.steps=2", "train_vae.loss.perceptual=0")
    train_vae(loaded(*short), tmp_path)
    config = json.loads((tmp_path / "vae/config.json").read_text())
    assert config["latents_std"] != [1.0] * 16
    train_dit(loaded(*short), tmp_path)
    latents = sorted(path.name for path in (footage / "latents").iterdir())
    assert any(name.startswith("tiny@") for name in latents)
    preview = tmp_path / "dit/previews/step-000002.png"
    assert "a square, number" in read_metadata(preview)["captions"]
    caplog.clear()
    train_dit(loaded(*short, "train_dit.optimizer.lr=0.002"), tmp_path)
    assert "train-dit: finished before" in caplog.text
    changed = "was trained with other settings: train_dit.optimizer.lr was 0.001, is 0.002"
    assert any(record.getMessage().endswith(changed) for record in caplog.records)
    assert "encoding" not in caplog.text
    other = WanVAE(load_vae(tmp_path / "vae").shape)
    save_vae(other, tmp_path / "vae", metadata={"step": "2"})
    with pytest.raises(UserError, match="was trained with VAE tiny@"):
        train_dit(loaded(*short, "train_dit.steps=4"), tmp_path)


def test_a_run_without_a_cache_learns_the_same_and_writes_none(loaded, tmp_path, footage):
    dataset = tmp_path / "dataset"
    shutil.copytree(footage, dataset, ignore=shutil.ignore_patterns("latents", "text", ".lock*"))
    write_vae(tmp_path / "vae_weights")
    keys = (f"dataset.path={dataset}", f"model.vae_weights={tmp_path / 'vae_weights'}",
            "train_dit.steps=6", "train_dit.eval_every=3", "train_dit.text_dropout=0.3",
            "train_dit.preview_every=3", "train_dit.mixed_precision=bf16")  # fmt: skip
    train_dit(loaded(*keys, "train_dit.cache=none"), tmp_path / "none")
    assert not (dataset / "latents").exists()
    assert not (dataset / "text").exists()
    train_dit(loaded(*keys), tmp_path / "disk")
    for name in ("metrics.jsonl", "previews/step-000006.png"):
        one, other = (tmp_path / out / "dit" / name for out in ("none", "disk"))
        assert one.read_bytes() == other.read_bytes()


def test_another_trainers_folder_is_trained_on(loaded, tmp_path, footage):
    for number in range(2):
        shutil.copy(footage.parent / f"clip{number}.mp4", tmp_path)
        (tmp_path / f"clip{number}.txt").write_text("a square")
    keys = [f"dataset.path={tmp_path}", "train_vae.steps=1", "train_vae.loss.perceptual=0",
            "train_vae.buckets=[{frames: 5, height: 32, width: 32}]"]  # fmt: skip
    command = ["train-vae", "--recipe", str(loaded().path), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*command, *(part for key in keys for part in ("--set", key))])
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "run/vae/data.json").read_text())
    assert summary["clips"] == 2
    captions = read_captions(DatasetDir.open(tmp_path / "run/dataset"), ())
    assert {each.text for several in captions.values() for each in several} == {"a square"}


def test_the_demo_compares_each_sample_with_the_clips_of_its_prompt(loaded, tmp_path, footage):
    run = tmp_path / "run"
    shutil.copytree(footage, run / "dataset", ignore=shutil.ignore_patterns("training", "latents"))
    one_size = "train_vae.buckets=[{frames: 5, height: 32, width: 32}]"
    train_vae(loaded(f"dataset.path={run / 'dataset'}", "train_vae.steps=1", one_size), run)
    captions = read_captions(DatasetDir.open(run / "dataset"), ())
    prompts = {}
    for number, file in enumerate(sorted((run / "dataset/training").glob("*/*.mp4"))):
        prompts[f"clip {number}"] = prompt = captions[file.stem][0].text
        with av.open(str(file)) as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        (run / "samples").mkdir(exist_ok=True)
        write_video(run / "samples" / f"{number}.mp4", frames, 8, metadata={"prompt": prompt})
    assert len(prompts) == 3
    assert all(match.is_nearest_to_own for match in compare(run, prompts))


@pytest.mark.slow  # four processes import everything: 40 s
def test_two_processes_divide_exports_and_encoding(loaded, tmp_path, footage):
    """Before, each of them exported and encoded everything, on the first device."""
    dataset, out = tmp_path / "dataset", tmp_path / "out"
    ignored = shutil.ignore_patterns("training", "latents", "text", ".lock*")
    shutil.copytree(footage, dataset, ignore=ignored)
    write_vae(tmp_path / "vae_weights")
    recipe = loaded(weights=f", vae_weights: {tmp_path / 'vae_weights'}")
    text = recipe.path.read_text().replace("steps: 14", "steps: 2").replace("steps: 16", "steps: 2")
    recipe.path.write_text(text.replace("perceptual: {weight: 3, frames: 1}", "perceptual: 0"))
    out.mkdir()
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    launch += ["--nproc-per-node", "2", sys.executable, str(WORKER)]
    works = [{"exported": [], "encoded": []}, {"exported": [], "encoded": []}]
    for command in ("train-vae", "train-dit"):
        run = subprocess.run(
            [*launch, command, str(recipe.path), str(dataset), str(out)],
            capture_output=True,
            text=True,
            timeout=140,
            check=False,
        )
        assert run.returncode == 0, run.stderr[-4000:]
        for rank, work in enumerate(works):
            done = json.loads((out / f"{command}-{rank}.json").read_text())
            for kind, items in done.items():
                work[kind] += items
    for kind in ("exported", "encoded"):
        first, second = ([json.dumps(item) for item in work[kind]] for work in works)
        assert first
        assert second
        assert not set(first) & set(second)
    assert sum(len(work["exported"]) for work in works) == 3 + 4  # two sizes, one short clip
    steps = [json.loads(line) for line in (out / "dit/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if "eval" not in line] == [1, 2]
    # each process found what the other had made, so one process has nothing left to make
    latents = sorted((dataset / "latents").rglob("*.safetensors"))
    (out / "dit/config.json").unlink()
    train_dit(load_recipe(str(recipe.path), [f"dataset.path={dataset}", "train_dit.steps=3"]), out)
    assert sorted((dataset / "latents").rglob("*.safetensors")) == latents


def test_a_decoder_is_trained_on_published_latents_whose_statistics_stay(loaded, tmp_path, caplog):
    caplog.set_level("INFO", "wanctl")
    write_vae(tmp_path / "vae_weights")
    recipe = loaded(
        "train_vae.trained=decoder", "train_vae.steps=1", "train_vae.loss.perceptual=0",
        "train_vae.buckets=[{frames: 5, height: 32, width: 32}]",  # images leave layers over time
        "train_vae.latent_statistics=measure", f"model.vae_weights={tmp_path / 'vae_weights'}",
    )  # fmt: skip
    train_vae(recipe, tmp_path / "out")
    before, after = load_vae(tmp_path / "vae_weights"), load_vae(tmp_path / "out")
    assert after.shape == before.shape
    for name, tensor in before.state_dict().items():
        kept = after.state_dict()[name].numpy().tobytes() == tensor.numpy().tobytes()
        assert kept == name.startswith(("encoder.", "conv1.")), name
    assert "trains decoder: 0.04 of 0.07 M weights" in caplog.text
    assert "KL is constant and left out of the loss" in caplog.text
    assert "statistics of its latents are kept" in caplog.text
    _, first, _ = (tmp_path / "out/vae/metrics.jsonl").read_text().splitlines()
    assert json.loads(first)["step"] == 1
    assert "kl" not in json.loads(first)


TRAINED = {
    "2.1": ("tiny", VAEShape(dim=8)),
    "2.2": ("wan2.2-ti2v-5b", replace(WAN22_VAE, dim=4, decoder_dim=4, num_res_blocks=1)),
}


@pytest.mark.parametrize("name", TRAINED)
def test_diffusers_opens_exports_of_trained_vaes_and_decodes_the_same(loaded, tmp_path, name):
    variant, shape = TRAINED[name]
    start, out = tmp_path / "start", tmp_path / "out"
    save_vae(WanVAE(shape), start)
    recipe = loaded(
        f"model.variant={variant}", f"model.vae_weights={start}", "train_vae.steps=3",
        "train_vae.loss.perceptual=0", "train_vae.optimizer.lr=0.01",
    )  # fmt: skip
    train_vae(recipe, out)
    ours, before = load_vae(out), load_vae(start)
    assert not torch.equal(ours.encoder.conv1.weight, before.encoder.conv1.weight)
    (official,) = convert(str(out / "vae"), tmp_path / "official", ConversionOptions("official"))
    exports = {"diffusers": str(out / "vae"), "from official": str(official)}
    peers = {}
    for export, source in exports.items():
        convert(source, tmp_path / export, ConversionOptions("diffusers"))
        peers[export] = AutoencoderKLWan.from_pretrained(tmp_path / export / "vae")
    if name == "2.1":  # diffusers has no reader of 2.2's official names
        config = str(tmp_path / "diffusers/vae")
        peers["official"] = AutoencoderKLWan.from_single_file(str(official), config=config)
    video = torch.rand(1, 3, 9, 32, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        mean, _ = ours.moments(video)
        decoded = ours.decode(ours.normalise(mean))
        for peer in peers.values():
            found = peer.eval().encode(video).latent_dist.mean
            torch.testing.assert_close(found, mean, atol=2e-5, rtol=0)
            torch.testing.assert_close(peer.decode(mean).sample, decoded, atol=2e-5, rtol=0)


def test_a_tiny_decoder_learns_from_the_vae_of_its_run_and_draws_previews(
    loaded, tmp_path, monkeypatch
):
    settings = (
        "train_vae.network=tiny_decoder", "train_vae.tiny_decoder_width=16", "train_vae.steps=4",
        "train_vae.loss.perceptual=0",
    )  # fmt: skip
    recipe, out = loaded(*settings), tmp_path / "out"
    with pytest.raises(UserError, match=r"run `wanctl train-vae --recipe .*network=vae`"):
        train_vae(recipe, out)
    vae = WanVAE(replace(SMALL_VAE, z_dim=4, latent_mean=(0.0,) * 4, latent_std=(1.0,) * 4))
    save_vae(vae, out / "vae", metadata={"step": "1"})
    before = (out / "vae/diffusion_pytorch_model.safetensors").read_bytes()
    train_vae(recipe, out)
    assert (out / "vae/diffusion_pytorch_model.safetensors").read_bytes() == before
    decoder, latents = load_tiny_decoder(out / "tiny_decoder"), torch.randn(1, 4, 2, 3, 4)
    with torch.inference_mode():
        assert decoder.decode(latents).shape == vae.eval().decode(latents).shape
    assert (out / "tiny_decoder/previews/step-000004.png").exists()
    dit = ("train_dit.steps=1", "train_dit.preview_decoder=tiny_decoder", "model.latent_channels=4")
    with monkeypatch.context() as patched:
        patched.setattr(WanVAE, "decode_frames", None)
        train_dit(loaded(*dit), out)
    assert (out / "dit/previews/step-000001.png").exists()
    save_vae(WanVAE(vae.shape), out / "vae", metadata={"step": "1"})
    with pytest.raises(UserError, match="was trained with VAE"):
        train_vae(loaded(*settings, "train_vae.steps=6"), out)


def test_mistakes_are_one_line_with_the_command_to_run(loaded, tmp_path, footage):
    write_vae(tmp_path / "vae_weights")
    flat = f"model.vae_weights={tmp_path / 'vae_weights'}"
    big = "train_vae.buckets=[{frames: 49, height: 32, width: 32}]"
    cases = [
        (train_vae, (f"dataset.path={tmp_path / 'none'}",), DatasetError, "wanctl curate FOLDER"),
        (train_vae, ("dataset.selection=best",), UserError, "wanctl data select --recipe"),
        (train_vae, (big,), UserError, "none of the 4 clips serves a bucket"),
        (train_vae, (flat, "model.vae_width=16"), UserError, "1,1,1,1.* tiny has dim_mult 1,2,4,4"),
        (
            train_dit,
            (flat, "model.latent_channels=4"),
            UserError,
            "channels: got 4, the VAE makes 16",
        ),
        (train_dit, (), UserError, r"run `wanctl train-vae --recipe .*--out"),
    ]
    for train, overrides, kind, line in cases:
        with pytest.raises(kind, match=line) as error:
            train(loaded(*overrides), tmp_path / "out")
        assert "\n" not in str(error.value)
    bare = tmp_path / "bare"
    dataset = DatasetDir.create_or_open(bare)
    for table, part in (("clips", "part-00000"), ("selections/default", "")):
        dataset.write_part(table, part, DatasetDir.open(footage).read(table))
    with pytest.raises(UserError, match="wanctl caption --recipe"):
        train_dit(loaded(f"dataset.path={bare}"), tmp_path / "out")


def test_shapes_that_the_networks_cannot_take_are_named_before_any_work(
    loaded, tmp_path, monkeypatch
):
    def fail(*_, **__):
        raise AssertionError("work began")

    monkeypatch.setattr("wanctl.train.setup.collect_clips", fail)
    monkeypatch.setattr("wanctl.train.dit.run.load_run_text_encoder", fail)
    # stride 16, so that train-dit needs multiples of 32, and train-vae multiples of 16
    wide = VAEShape(dim=8, dim_mult=(1, 1, 1, 1), num_res_blocks=1, patch=2)
    wide = replace(wide, dim=8, decoder_dim=8, residual=True)
    save_vae(WanVAE(wide), tmp_path / "vae_weights", metadata={"step": "1"})
    bad = "[{frames: 5, height: 64, width: 48}]"
    recipe = loaded(
        f"model.vae_weights={tmp_path / 'vae_weights'}",
        f"train_dit.buckets={bad}",
        f"train_vae.buckets={bad}",
    )
    line = r"train_dit\.buckets\.0\.width: got 48; must be a multiple of 32, nearest: 32 or 64"
    with pytest.raises(UserError, match=line):
        train_dit(recipe, tmp_path / "out")
    with pytest.raises(AssertionError, match="work began"):
        train_vae(recipe, tmp_path / "out")


def test_latest_table_of_the_first_backend_gives_the_captions(tmp_path):
    dataset = DatasetDir.create_or_open(tmp_path / "captions")
    tables = {
        "captions/template@1": [("a", "from evidence"), ("b", "from evidence")],
        "captions/sidecar@old": [("a", "old words")],
        "captions/sidecar@new": [("a", "new words"), ("a", "other words")],
    }
    for age, (table, rows) in enumerate(tables.items()):
        record_tables(dataset, [table])
        dataset.write_part(table, "part-00000", [{"id": i, "text": t} for i, t in rows])
        # the times of the files say the opposite, as they may after a copy
        os.utime(dataset.path / table / "part-00000.parquet", ns=(9 - age, 9 - age))
    captions = read_captions(dataset, ["sidecar", "template"], ["a", "b"])
    texts = {clip: [caption.text for caption in several] for clip, several in captions.items()}
    assert texts == {"a": ["new words", "other words"], "b": ["from evidence"]}
    assert {caption.backend for caption in captions["a"]} == {"sidecar"}

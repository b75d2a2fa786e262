"""`wanctl eval vae` on random VAEs: figures, files, resumption, and what is left out."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from wanctl.checkpoint.load import load_vae
from wanctl.checkpoint.save import save_vae
from wanctl.cli.main import main
from wanctl.eval.vae import compare, cost_worker, run
from wanctl.eval.vae.cost import cost_from, measure_cost
from wanctl.eval.vae.networks import CodingOptions, load_vaes
from wanctl.metrics.latents import latent_sums, statistics_of
from wanctl.model.shapes import PixelShape
from wanctl.video.decode import read_window


@pytest.fixture
def cost_here(monkeypatch):
    """Measure seconds and memory in this process, which has torch already."""

    def measure(vae, shape, options):
        task = {
            "ref": vae.ref, "decoder_ref": vae.decoder_ref, "shape": shape, "device": "cpu",
            "dtype": "float32", "chunked": options.in_chunks(shape),
        }  # fmt: skip
        return cost_from(cost_worker.measure(task))

    monkeypatch.setattr(cost_worker, "MEASURED_S", 0.0)
    monkeypatch.setattr(run, "measure_cost", measure)


@pytest.fixture
def clips(make_video, tmp_path):
    """Footage: one good file, one with odd sides, one that is too short, one that is broken."""
    folder = tmp_path / "clips"
    folder.mkdir()
    make_video("good.mp4", 25, (64, 96)).rename(folder / "good.mp4")
    make_video("odd.mp4", 25, (70, 100)).rename(folder / "odd.mp4")
    make_video("short.mp4", 3, (64, 96)).rename(folder / "short.mp4")
    (folder / "broken.mp4").write_bytes((folder / "good.mp4").read_bytes()[:700])
    return folder


def evaluate(capsys, *arguments):
    """(exit code, standard output, standard error) of the command."""
    with pytest.raises(SystemExit) as stop:
        main(["eval", "vae", *map(str, arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_vaes_are_compared_on_the_clips_that_can_be_read(
    small_vaes, clips, tmp_path, capsys, cost_here, monkeypatch
):
    first, second = small_vaes
    arguments = (first, second, "--clips", clips, "--frames", 5, "--out", tmp_path / "out")
    code, text, log = evaluate(capsys, *arguments, "--json")
    assert code == 0
    result = json.loads(text)
    assert result == json.loads((tmp_path / "out/eval.json").read_text(encoding="utf-8"))
    assert "odd: 100x70 px are cropped at the centre to 96x64" in log
    assert "measured 2 clips" in log
    assert "96x64 (2), 1 cropped at the centre; coded whole in float32 on cpu" in log
    assert "--fvd FILE" in log

    left_out = {each["clip"]: each["why"] for each in result["failed"]}
    assert set(left_out) == {"broken", "short"}
    assert "has 2 frames at 16 fps; need 5" in left_out["short"]

    (good,) = [each for each in result["clips"] if each["clip"] == "good"]
    # 5 frames last 0.31 s of 1 s: they begin at the frame displayed at 0.34 s, the eighth
    source = read_window(clips / "good.mp4", 8 * 512, 12800, fps=16, frames=5)
    x = torch.from_numpy(source).movedim(-1, 0)[None].float() / 127.5 - 1
    vae = load_vae(second)
    with torch.inference_mode():
        latents = vae.encode(x)
        video = vae.decode(latents)
    expected = peak_signal_noise_ratio(x.numpy(), video.numpy(), data_range=2)
    assert good["measures"][str(second)]["psnr"] == pytest.approx(expected, abs=1e-3)

    by_name = {each["name"]: each for each in result["vaes"]}
    assert by_name[str(first)]["stride"] == [4, 8]
    assert by_name[str(second)]["stride"] == [4, 16]
    mean = np.mean([each["measures"][str(second)]["psnr"] for each in result["clips"]])
    assert by_name[str(second)]["measures"]["psnr"] == pytest.approx(mean)
    assert by_name[str(second)]["measures"]["ms_ssim"] is None, "64 px are too small"
    cost = by_name[str(second)]["cost"]
    assert cost["shape"] == [5, 64, 96]
    assert cost["decode_bytes"] > x.nbytes, "the video itself"
    assert len(by_name[str(first)]["latents"]["std"]) == 4
    assert statistics_of(latent_sums(latents[0])).mean == pytest.approx(
        by_name[str(second)]["latents"]["mean"], abs=0.1
    ), "the other clip differs"

    with Image.open(tmp_path / "out/clips/odd.png") as picture:
        assert picture.width == 3 * 256 + 4 * 8, "source and two VAEs at 4x"
    with Image.open(tmp_path / "out/quality-speed.png") as chart:
        assert chart.size == (900, 560)

    # a second run measures nothing again, a third only what is missing
    measured = []
    own = compare.Comparison._measures
    monkeypatch.setattr(
        compare.Comparison, "_measures",
        lambda self, *a: measured.append(a[2].name) or own(self, *a),
    )  # fmt: skip
    _, table, log = evaluate(capsys, *arguments)
    assert measured == []
    assert "2 of 4 clips were measured by an earlier run" in log
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in table.splitlines()}
    assert rows["measure"][:2] == [str(first), str(second)]
    assert float(rows["PSNR"][1]) == pytest.approx(mean, abs=0.01)
    stored = sorted((tmp_path / "out/results" / by_name[str(first)]["weights"]).glob("*-*.json"))
    next(each for each in stored if not each.name.startswith("cost")).unlink()
    _, text, _ = evaluate(capsys, *arguments, "--json")
    assert measured == [str(first)]
    assert json.loads(text)["vaes"] == result["vaes"]


class Features(torch.nn.Module):
    """Called like I3D; gives the mean of each channel."""

    def forward(self, x, rescale: bool = True, resize: bool = True, return_features: bool = False):
        return x.mean(dim=(2, 3, 4))


def test_fvd_is_measured_with_a_network_that_is_named(
    small_vaes, clips, tmp_path, capsys, cost_here
):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(Features()).save(str(tmp_path / "i3d.pt"))
    arguments = (
        small_vaes[1], "--clips", clips, "--fvd", tmp_path / "i3d.pt", "--out", tmp_path / "out",
        "--json",
    )  # fmt: skip
    _, text, log = evaluate(capsys, *arguments, "--frames", 5)
    assert json.loads(text)["vaes"][0]["fvd"] is None
    assert "rFVD was not measured: needs --frames of at least 10" in log
    _, text, log = evaluate(capsys, *arguments, "--frames", 13)
    (record,) = json.loads(text)["vaes"]
    results = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (tmp_path / "out/results" / record["weights"]).glob("*-*.json")
    ]
    x, y = (
        np.array([each["features"] for each in group if "features" in each])
        for group in (
            [json.loads(p.read_text(encoding="utf-8")) for p in
             (tmp_path / "out/results/source").glob("*.json")],
            results,
        )
    )  # fmt: skip
    assert (x.shape, y.shape) == ((2, 3), (2, 3))
    # two videos: each covariance has one direction, half of the difference squared
    spread = [(z[1] - z[0]) / 2**0.5 for z in (x, y)]
    expected = np.square(x.mean(0) - y.mean(0)).sum() + sum(s @ s for s in spread)
    expected -= 2 * abs(spread[0] @ spread[1])
    assert record["fvd"] == pytest.approx(expected, rel=1e-4)


def test_nothing_measured_is_one_line_and_leaves_nothing(small_vaes, clips, tmp_path, capsys):
    code, _, log = evaluate(
        capsys, small_vaes[0], "--clips", clips / "short.mp4", "--out", tmp_path / "out"
    )
    assert code == 2
    assert "none of 1 clips could be measured; short: " in log.splitlines()[-1]
    assert "has 2 frames at 16 fps; need 25" in log.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_vae_that_overflows_is_named(small_vaes, clips, tmp_path, capsys):
    vae = load_vae(small_vaes[0])
    vae.conv1.weight.data *= 1e38
    vae.conv1.bias.data.fill_(3.4e38)
    save_vae(vae, tmp_path / "overflow")
    code, _, log = evaluate(
        capsys, tmp_path / "overflow", "--clips", clips / "good.mp4", "--frames", 5,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 2
    assert f"good, {tmp_path}/overflow: the VAE makes NaN or infinity of it" in log.splitlines()[-1]


def test_seconds_and_memory_are_measured_in_a_process_of_their_own(small_vaes, caplog):
    (vae,) = load_vaes([str(small_vaes[0])], torch.float32)
    options = CodingOptions(torch.device("cpu"), torch.float32, None)
    cost = measure_cost(vae, PixelShape(5, 64, 96), options)
    assert cost is not None
    assert min(cost.encode_s, cost.decode_s) > 0
    # what the decoder's last layers hold is 8 channels of the video's size in fp32
    assert cost.decode_bytes is not None
    assert 8 * 5 * 64 * 96 * 4 < cost.decode_bytes < 2**30

import os
import signal

import pytest
import torch
from accelerate.tracking import LOGGER_TYPE_TO_CLASS
from torch.utils._python_dispatch import TorchDispatchMode

from wanctl.errors import TerminatedError
from wanctl.train.accelerator import TRACKERS
from wanctl.train.checkpoint import newest_checkpoint
from wanctl.train.loop import train
from wanctl.train.resume import TrainingError
from wanctl.train.signals import StopRequest

CPU = torch.device("cpu")


def test_loss_falls_and_the_result_has_its_figures(toy, tmp_path, toy_options, lines):
    result = train(toy(), tmp_path, toy_options(steps=150), device=CPU)
    losses = [line["loss"] for line in lines(tmp_path) if "loss" in line]
    assert result.step == result.trained == 150
    assert result.loss < 0.6 * losses[0]
    assert result.figures.keys() == {"mse"}
    assert result.steps_per_s > 0


def test_metrics_hold_one_line_per_step_and_per_evaluation(toy, tmp_path, toy_options, lines):
    train(toy(), tmp_path, toy_options(), device=CPU)
    training = [line for line in lines(tmp_path) if "eval" not in line]
    assert [line["step"] for line in training] == list(range(1, 13))
    assert training[0].keys() == {"step", "loss", "largest", "grad_norm", "lr"}
    assert [line["step"] for line in lines(tmp_path) if "eval" in line] == [0, 4, 8, 12]
    assert sorted(p.name for p in (tmp_path / "previews").iterdir()) == [
        "step-000000.png",
        "step-000006.png",
        "step-000012.png",
    ]


def test_two_runs_are_equal_to_the_bit_and_leave_the_global_generator_alone(
    toy, tmp_path, toy_options
):
    state = torch.get_rng_state()
    for name in ("a", "b"):
        train(toy(), tmp_path / name, toy_options(), device=CPU)
    assert (tmp_path / "a/metrics.jsonl").read_bytes() == (
        tmp_path / "b/metrics.jsonl"
    ).read_bytes()
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("stop_at", [2, 5, 8])
def test_stopped_and_continued_equals_uninterrupted(toy, tmp_path, stop_at, toy_options, lines):
    train(toy(), tmp_path / "full", toy_options(), device=CPU)
    with pytest.raises(KeyboardInterrupt):
        train(toy(stop_at=stop_at), tmp_path / "stopped", toy_options(), device=CPU)
    assert lines(tmp_path / "stopped")[-1]["step"] == stop_at + 1
    resumed = toy()
    result = train(resumed, tmp_path / "stopped", toy_options(), device=CPU)
    assert resumed.trained_steps[0] == stop_at + 1
    assert result.trained == 12 - stop_at - 1
    for name in ("metrics.jsonl", "checkpoints/step-000012/manifest.json"):
        assert (tmp_path / "full" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()


def test_lines_after_the_checkpoint_are_written_anew(toy, tmp_path, toy_options, lines):
    class DiedError(Exception):
        pass

    class Dies(toy):
        def batch(self, microbatch):
            if microbatch.step == 7:
                raise DiedError
            return super().batch(microbatch)

    train(toy(), tmp_path / "full", toy_options(), device=CPU)
    with pytest.raises(DiedError):
        train(Dies(), tmp_path / "stopped", toy_options(), device=CPU)
    assert lines(tmp_path / "stopped")[-1]["step"] == 7
    with (tmp_path / "stopped/metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')
    train(toy(), tmp_path / "stopped", toy_options(), device=CPU)
    full, stopped = (tmp_path / name / "metrics.jsonl" for name in ("full", "stopped"))
    assert full.read_bytes() == stopped.read_bytes()


def test_damaged_newest_checkpoint_costs_only_steps(toy, tmp_path, caplog, toy_options):
    train(toy(), tmp_path / "full", toy_options(), device=CPU)
    with pytest.raises(KeyboardInterrupt):
        train(toy(stop_at=8), tmp_path / "stopped", toy_options(keep_checkpoints=3), device=CPU)
    newest = tmp_path / "stopped/checkpoints/step-000009/model.safetensors"
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(bytes(data))
    resumed = toy()
    train(resumed, tmp_path / "stopped", toy_options(), device=CPU)
    assert resumed.trained_steps[0] == 8
    assert "step-000009 is damaged (model.safetensors has another checksum)" in caplog.text
    full, stopped = (tmp_path / name / "metrics.jsonl" for name in ("full", "stopped"))
    assert full.read_bytes() == stopped.read_bytes()


def test_finished_run_repeats_nothing_and_more_steps_continue(toy, tmp_path, caplog, toy_options):
    caplog.set_level("INFO", "wanctl")
    train(toy(), tmp_path, toy_options(), device=CPU)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again = toy()
    assert train(again, tmp_path, toy_options(), device=CPU).trained == 0
    assert again.trained_steps == []
    assert "finished before" in caplog.text
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert train(toy(), tmp_path, toy_options(steps=14), device=CPU).trained == 2


def test_model_that_was_not_saved_is_saved_without_training(toy, tmp_path, toy_options):
    train(toy(), tmp_path, toy_options(), device=CPU)
    (tmp_path / "saved.json").unlink()
    again = toy()
    assert train(again, tmp_path, toy_options(), device=CPU).step == 12
    assert again.trained_steps == []
    assert (tmp_path / "saved.json").exists()


def test_another_model_is_refused_in_one_line(toy, tmp_path, toy_options):
    train(toy(), tmp_path, toy_options(), device=CPU, identity={"dim": 5})
    with pytest.raises(
        TrainingError, match=r"trained with dim 5, this run has 6; .*--out"
    ) as error:
        train(toy(), tmp_path, toy_options(steps=20), device=CPU, identity={"dim": 6})
    assert "\n" not in str(error.value)


def test_changed_settings_are_named_in_one_warning(toy, tmp_path, toy_options, caplog):
    before = {"seed": 0, "clips": "9 (ab)", "train": {"optimizer": {"lr": 0.1}, "batch": [1, 2]}}
    train(toy(), tmp_path, toy_options(), device=CPU, settings=before)
    train(toy(), tmp_path, toy_options(steps=13), device=CPU, settings={**before, "new": 1})
    assert "other settings" not in caplog.text
    now = {"seed": 1, "clips": "9 (ab)", "train": {"optimizer": {"lr": 0.2}, "batch": [1, 3]}}
    train(toy(), tmp_path, toy_options(steps=13), device=CPU, settings=now)  # finished before
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning.endswith(
        "step-000013 was trained with other settings: seed was 0, is 1; "
        "train.optimizer.lr was 0.1, is 0.2; train.batch was [1, 2], is [1, 3]"
    )


def test_one_bad_step_is_skipped(toy, tmp_path, caplog, toy_options, lines):
    train(toy(poison={3}), tmp_path, toy_options(), device=CPU)
    assert "step 4 skipped" in caplog.text
    assert lines(tmp_path)[4]["loss"] is None
    assert all(line["loss"] is not None for line in lines(tmp_path)[5:] if "eval" not in line)


def test_bad_steps_in_a_row_end_the_run_and_count_across_a_restart(toy, tmp_path, toy_options):
    with pytest.raises(TrainingError, match="5 steps in a row up to step 11"):
        train(toy(poison=range(6, 20)), tmp_path, toy_options(), device=CPU)
    with pytest.raises(TrainingError, match="5 steps in a row up to step 11"):
        train(toy(poison=range(6, 20)), tmp_path, toy_options(), device=CPU)


@pytest.mark.parametrize(
    ("poison", "kept", "named"),
    [
        ({11}, 8, "the last 1 of 12 steps"),
        ({9, 10, 11}, 8, "the last 3 of 12 steps"),
        ({7, 8, 9, 11}, 4, "the last 1 of 12 steps"),  # step 8 was bad, so nothing is kept there
        ({0, 11}, 8, "the last 1 of 12 steps"),
    ],
)
def test_a_run_that_ends_without_a_finite_loss_fails(
    toy, tmp_path, toy_options, poison, kept, named
):
    options = toy_options(keep_checkpoints=1)
    for _ in range(2):  # the same command again does not write the model either
        with pytest.raises(TrainingError) as error:
            train(toy(poison=poison), tmp_path, options, device=CPU)
        assert f"{named} had a loss or gradient that is not finite" in str(error.value)
        assert "no model was written" in str(error.value)
        assert f"from the checkpoint of step {kept}, which is the last finite" in str(error.value)
        assert "\n" not in str(error.value)
        assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == [f"step-{kept:06d}"]
        assert not (tmp_path / "saved.json").exists()
    mended = toy()
    assert train(mended, tmp_path, options, device=CPU).step == 12
    assert mended.trained_steps[0] == kept


def test_a_short_run_without_any_finite_loss_says_that_nothing_is_kept(toy, tmp_path, toy_options):
    with pytest.raises(TrainingError, match="continues from the start"):
        train(toy(poison=range(3)), tmp_path, toy_options(steps=3), device=CPU)
    assert not (tmp_path / "checkpoints").exists()


def test_weights_that_are_not_finite_are_neither_kept_nor_saved(toy, tmp_path, toy_options, caplog):
    """The loss of the step that spoils them is finite: nothing after it is, but it may be last."""

    class Spoiled(toy):
        def batch(self, microbatch):
            if microbatch.step == 11:
                with torch.no_grad():
                    self.module[2].bias[0] = float("inf")
            return super().batch(microbatch)

        def loss(self, model, batch, microbatch, device):
            losses = super().loss(model, batch, microbatch, device)
            if microbatch.step < 11:
                return losses
            finite = (model(batch)[:, 1] ** 2).float()
            return type(losses)(finite, {"largest": finite.detach().max()})

    with pytest.raises(TrainingError, match=r"2\.bias\).*checkpoint of step 8"):
        train(Spoiled(), tmp_path, toy_options(keep_checkpoints=1), device=CPU)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000008"]
    assert "no checkpoint of step 12" in caplog.text
    assert not (tmp_path / "saved.json").exists()


def test_skipped_steps_do_not_spoil_the_mean_loss(toy, tmp_path, toy_options):
    result = train(toy(poison={3, 10}), tmp_path, toy_options(log_every=12), device=CPU)
    assert result.loss == result.loss < 10


def test_accumulated_micro_batches_equal_one_batch(toy, tmp_path, toy_options):
    full, parts = toy(batch_size=4), toy(batch_size=1)
    train(full, tmp_path / "full", toy_options(), device=CPU)
    train(parts, tmp_path / "parts", toy_options(accumulate=4), device=CPU)
    for a, b in zip(full.module.parameters(), parts.module.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-6)  # measured 2.4e-7


def test_bf16_trains_on_cpu_with_fp32_weights(toy, tmp_path, toy_options):
    objective = toy()
    result = train(objective, tmp_path, toy_options(mixed_precision="bf16"), device=CPU)
    assert result.trained == 12
    assert {p.dtype for p in objective.module.parameters()} == {torch.float32}


def test_fp16_on_the_cpu_is_refused_in_one_line(toy, tmp_path, toy_options):
    with pytest.raises(ValueError, match="fp16 needs a GPU; say bf16 or no"):
        train(toy(), tmp_path, toy_options(mixed_precision="fp16"), device=CPU)


def test_signal_handlers_are_put_back(toy, tmp_path, toy_options):
    before = signal.getsignal(signal.SIGTERM)
    train(toy(), tmp_path, toy_options(), device=CPU)
    assert signal.getsignal(signal.SIGTERM) is before


def test_tensorboard_gets_the_figures(toy, tmp_path, toy_options):
    train(toy(), tmp_path, toy_options(trackers=("tensorboard",)), device=CPU)
    events = list((tmp_path / "tracker").rglob("events.out.tfevents.*"))
    assert [path.stat().st_size > 500 for path in events] == [True]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("tensorbord", "did you mean 'tensorboard'"),
        ("wandb", "pip install wandb"),
        ("comet_ml", "pip install comet-ml"),
    ],
)
def test_trackers_that_are_not_there_are_named(toy, tmp_path, monkeypatch, name, line, toy_options):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=line):
        train(toy(), tmp_path, toy_options(trackers=(name,)), device=CPU)


def test_trackers_are_those_of_accelerate():
    assert set(TRACKERS) == set(LOGGER_TYPE_TO_CLASS)


class HostReads(TorchDispatchMode):
    """Counts reads of tensors by the host: each would wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += "local_scalar_dense" in str(function)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("log_every", [4, 12])
def test_the_device_is_read_at_log_steps_and_not_at_others(
    toy, tmp_path, toy_options, monkeypatch, log_every, lines
):
    transfers, tolist = [], torch.Tensor.tolist
    monkeypatch.setattr(
        torch.Tensor, "tolist", lambda self: transfers.append(self.numel()) or tolist(self)
    )
    rare = {"eval_every": 12, "preview_every": 12, "checkpoint_every": 12}
    with HostReads() as reads:
        train(toy(), tmp_path, toy_options(log_every=log_every, **rare), device=CPU)
    assert len(transfers) == 12 // log_every
    assert sum(transfers) == 12 * 3  # loss, largest, grad_norm
    # figures of the evaluation's items, previews, and the count of updates in the checkpoint
    assert reads.count <= 2 * (3 + 3) + 1
    assert len(lines(tmp_path)) == 14


def test_metrics_and_weights_do_not_depend_on_when_the_device_is_read(toy, tmp_path, toy_options):
    for log_every in (1, 12):
        folder = tmp_path / str(log_every)
        train(toy(poison={2, 5}), folder, toy_options(log_every=log_every), device=CPU)
    assert (tmp_path / "1/metrics.jsonl").read_bytes() == (
        tmp_path / "12/metrics.jsonl"
    ).read_bytes()
    weights = [torch.load(tmp_path / name / "model.pt") for name in ("1", "12")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_bad_steps_end_the_run_at_the_same_step_when_they_are_read_late(
    toy, tmp_path, toy_options, lines
):
    rare = {"log_every": 100, "eval_every": 100, "preview_every": 100, "checkpoint_every": 4}
    for _ in range(2):  # the count survives the restart at step 8
        with pytest.raises(TrainingError, match="5 steps in a row up to step 11"):
            train(toy(poison=range(6, 20)), tmp_path, toy_options(**rare), device=CPU)
    assert [line["step"] for line in lines(tmp_path) if "eval" not in line] == list(range(1, 11))


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (signal.SIGINT, KeyboardInterrupt),
        (signal.SIGTERM, TerminatedError),
        (signal.SIGHUP, TerminatedError),
    ],
)
def test_every_signal_to_stop_writes_a_checkpoint(
    toy, tmp_path, toy_options, monkeypatch, number, error
):
    objective = toy(stop_at=3)
    kill = os.kill
    monkeypatch.setattr(os, "kill", lambda pid, _: kill(pid, number))
    with pytest.raises(error) as stopped:
        train(objective, tmp_path, toy_options(), device=CPU)
    assert type(stopped.value) is error
    assert getattr(stopped.value, "number", signal.SIGINT) == number
    assert newest_checkpoint(tmp_path / "checkpoints").step == 4


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch):
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, previous)

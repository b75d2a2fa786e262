import pytest
import torch

from wanctl.train.loop import train
from wanctl.train.optimizers.options import PlateauOptions
from wanctl.train.optimizers.plateau import Plateau

CPU = torch.device("cpu")


def shares(losses, **changes):
    settings = {"factor": 0.5, "patience": 2, "threshold": 0.01, "final_share": 0.2, **changes}
    plateau = Plateau(PlateauOptions(**settings))
    result = []
    for loss in losses:
        plateau.observe(loss)
        result.append(plateau.share)
    return result


def test_the_rate_is_lowered_after_evaluations_without_a_lower_loss():
    assert shares([1.0, 0.9, 0.95, 0.91, 0.8, 0.9, 0.9]) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_a_fall_below_the_threshold_is_none_and_the_share_has_a_floor():
    assert shares([1.0, 0.995, 0.992, 0.991, 0.991, 1, 1]) == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.2]
    assert shares([1.0] * 20)[-1] == 0.2


def test_what_is_not_finite_is_no_lower_loss():
    assert shares([1.0, float("nan"), float("inf")]) == [1, 1, 0.5]


@pytest.mark.parametrize("stop_at", [3, 6, 9])
def test_a_run_lowers_its_rate_and_goes_on_with_the_lowered_one(
    toy, tmp_path, toy_options, optimizer_options, lines, caplog, stop_at
):
    caplog.set_level("INFO", "wanctl")
    plateau = {"patience": 2, "factor": 0.1, "threshold": 0.999}  # never lower by so much
    optimizer = optimizer_options(lr=0.02, warmup_steps=2, decay="plateau", plateau=plateau)
    options = toy_options(optimizer=optimizer, eval_every=2, checkpoint_every=3)
    train(toy(), tmp_path / "full", options, device=CPU)
    rates = [line["lr"] for line in lines(tmp_path / "full") if "eval" not in line]
    # judged from the end of the warm-up, after step 2: no lower loss at 4 and 6
    assert rates == pytest.approx([0.01] + [0.02] * 5 + [0.002] * 4 + [0.0002] * 2)
    assert "the held-out mse has stopped falling; learning rate lowered to 0.002" in caplog.text
    with pytest.raises(KeyboardInterrupt):
        train(toy(stop_at=stop_at), tmp_path / "stopped", options, device=CPU)
    train(toy(), tmp_path / "stopped", options, device=CPU)
    for name in ("metrics.jsonl", "checkpoints/step-000012/manifest.json"):
        assert (tmp_path / "full" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()

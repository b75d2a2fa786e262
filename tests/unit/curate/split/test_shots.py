import random

import cv2
import numpy as np
import pytest

from wanctl.curate.split import shots
from wanctl.curate.split.shots import DETECTORS, DetectorError, DetectorSettings
from wanctl.curate.split.transitions import (
    Transition,
    abrupt_cuts,
    clean_transitions,
    from_heads,
)

SETTINGS = DetectorSettings(threshold=0.4, adaptive_threshold=3.0, device="cpu")


def scenes(lengths, *, dissolve=0, seed=0):
    """A strip of slowly moving blurs; consecutive scenes are cut hard or dissolved."""
    rng = np.random.default_rng(seed)
    clips = []
    for length in lengths:
        small = rng.integers(0, 256, (4, 6, 3)).astype(np.float32)
        base = cv2.resize(small, (48, 27), interpolation=cv2.INTER_LINEAR)
        drift = [np.roll(base, shift // 6, axis=1) for shift in range(length)]
        clips.append(np.stack(drift))
    strip = clips[0]
    for clip in clips[1:]:
        if dissolve:
            mix = np.linspace(0, 1, dissolve + 2)[1:-1, None, None, None]
            joint = strip[-1] * (1 - mix) + clip[0] * mix
            strip = np.concatenate([strip, joint, clip])
        else:
            strip = np.concatenate([strip, clip])
    return strip.round().astype(np.uint8)


@pytest.mark.parametrize("name", ["adaptive", "transnetv2"])
def test_hard_cuts_are_found_where_they_are(name):
    found = DETECTORS[name](scenes([40, 30, 50]), SETTINGS)
    assert [t.first for t in found] == [39, 69]


def test_a_single_shot_has_no_cut():
    for name in ("adaptive", "transnetv2", "none"):
        assert DETECTORS[name](scenes([120]), SETTINGS) == []


def test_a_dissolve_is_removed_completely():
    (found,) = DETECTORS["transnetv2"](scenes([60, 60], dissolve=12), SETTINGS)
    # the middle of the dissolve must be gone; its faint ends may stay
    assert found.first <= 62
    assert found.last >= 69


def test_the_network_leaves_the_process_as_it_was():
    import torch

    from wanctl.curate.split import transnet

    transnet.load_network.cache_clear()
    random.seed(5)
    torch.manual_seed(5)
    before = random.random(), torch.rand(1).item(), torch.are_deterministic_algorithms_enabled()
    random.seed(5)
    torch.manual_seed(5)
    transnet.load_network("cpu")
    after = random.random(), torch.rand(1).item(), torch.are_deterministic_algorithms_enabled()
    assert before == after


def test_the_fused_network_computes_what_the_published_one_does():
    import torch

    from wanctl.curate.split.transnet import load_network

    network = load_network("cpu")
    frames = torch.from_numpy(scenes([15, 15]))
    with torch.inference_mode():
        cut, span = network._published(frames[None])
    expected = torch.stack([cut[0, :, 0], span["many_hot"][0, :, 0]]).sigmoid()
    assert expected.max() > 0.5
    assert torch.allclose(network(frames), expected, atol=1e-4)


def test_only_windows_in_which_the_first_pass_sees_something_are_computed_in_full(monkeypatch):
    from wanctl.curate.split import transnet

    lengths = []

    def network(frames):
        lengths.append(len(frames))
        return (frames[:, 0, 0, 0] / 255).expand(2, -1)

    monkeypatch.setattr(transnet, "load_network", lambda _: network)
    strip = np.zeros((180, 27, 48, 3), dtype=np.uint8)
    strip[120] = 255
    cuts, spans = transnet.probabilities(strip, "cpu")
    assert lengths == [90, 100]
    assert np.flatnonzero(cuts).tolist() == np.flatnonzero(spans).tolist() == [120]


def test_an_abrupt_change_with_a_weak_probability_is_a_cut():
    strip = scenes([30, 30, 30])
    cuts = np.zeros(len(strip))
    cuts[[29, 59]] = 0.15, 0.05
    assert abrupt_cuts(strip, cuts, 0.4) == [Transition(29, 29)]
    inset = strip.copy()
    inset[:, 9:] = strip[:1, 9:]
    assert abrupt_cuts(inset, cuts, 0.4) == [], "a third of the picture is a caption or an inset"
    cuts[:] = 0.15
    moving = strip.copy()
    for k in range(len(moving)):
        moving[k] = np.roll(strip[k], 9 * k, axis=1)
    assert abrupt_cuts(moving, cuts, 0.4) == [], "every frame changes as much"


def test_a_cut_between_flashes_of_a_lamp_is_told_from_them():
    strip = scenes([30, 30])
    strip[10:18] = np.minimum(255, strip[10:18].astype(int) + 120)
    strip[33:41] = np.minimum(255, strip[33:41].astype(int) + 120)
    assert abrupt_cuts(strip, np.full(len(strip), 0.15), 0.4) == [Transition(29, 29)]


def test_touching_transitions_become_one():
    cuts = np.array([0, 0, 0.9, 0, 0.9, 0, 0])
    inside = np.array([0, 0.9, 0.9, 0.9, 0.9, 0, 0])
    assert from_heads(cuts, inside, 0.4) == [Transition(1, 4)]


def test_a_slow_dissolve_is_found_by_the_second_head_alone():
    inside = np.zeros(60)
    inside[20:30], inside[24:27] = 0.32, 0.6
    assert from_heads(np.zeros(60), inside, 0.4) == [Transition(20, 29)]
    assert from_heads(np.zeros(60), inside, 0.6) == [], "what counts moves with the threshold"
    inside[22:30] = 0
    assert from_heads(np.zeros(60), inside, 0.4) == [], "two frames are no dissolve"


def test_a_flash_is_no_cut_and_a_cut_next_to_one_stays():
    strip = scenes([30, 30])
    bright = strip.copy()
    bright[12:15] = np.minimum(255, bright[12:15].astype(int) + 90)
    cuts = [Transition(11, 11), Transition(14, 14), Transition(29, 29)]
    assert clean_transitions(bright, cuts) == [Transition(29, 29)]
    assert DETECTORS["adaptive"](bright, SETTINGS) == [Transition(29, 29)]


def test_a_fade_through_black_is_one_transition():
    strip = scenes([30, 30]).astype(float)
    strip[20:41] *= np.abs(np.linspace(-1, 1, 21))[:, None, None, None]
    halves = [Transition(20, 26), Transition(34, 40)]
    assert clean_transitions(strip.astype(np.uint8), halves) == [Transition(20, 40)]
    lit = scenes([20, 20, 20])
    assert clean_transitions(lit, [Transition(19, 19), Transition(39, 39)]) == [
        Transition(19, 19),
        Transition(39, 39),
    ]


def test_an_unknown_detector_names_the_nearest():
    with pytest.raises(DetectorError, match="did you mean 'adaptive'"):
        shots.get_detector("adaptative")


@pytest.mark.parametrize("frames", [1, 2, 3, 49, 50, 51, 101])
def test_footage_of_any_length_is_accepted(frames):
    strip = scenes([frames])
    for detect in DETECTORS.values():
        assert detect(strip, SETTINGS) == []


def test_bars_are_cropped_and_a_dark_scene_is_no_bar():
    strip = scenes([20, 20])
    boxed = np.zeros_like(strip)
    boxed[:, :, 8:40] = strip[:, :, 8:40]
    bare = shots.crop_bars(boxed)
    assert bare.shape == strip.shape
    assert bare.std(axis=0).min() > 0
    assert shots.crop_bars(strip) is strip
    fading = strip // 2
    fading[:20] = 0
    assert shots.crop_bars(fading) is fading

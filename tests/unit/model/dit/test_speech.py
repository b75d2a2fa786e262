"""S2V's transformer: its parts equal plain formulas, and each token sees what it is to see."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.save import save_dit
from wanctl.model.dit.networks import make_dit
from wanctl.model.dit.speech.network import SpeechModel
from wanctl.model.dit.speech.packer import packed_positions
from wanctl.model.variants import DiTShape, SpeechShape

SPEECH = SpeechShape(layers=3, width=10, tokens=2, blocks=(0, 2))
SHAPE = DiTShape(
    dim=48, ffn_dim=64, num_layers=4, num_heads=2, text_dim=24, freq_dim=32, speech=SPEECH
)
T, ROWS, COLUMNS = 2, 8, 16


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = make_dit(SHAPE, "reference").eval()
    assert isinstance(made, SpeechModel)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


@pytest.fixture(scope="module")
def inputs():
    torch.manual_seed(1)
    return {
        "x": torch.randn(1, 16, T + 1, ROWS, COLUMNS),
        "text": torch.randn(1, 512, 24),
        "states": torch.randn(1, 3, 10, 4 * T),
        "before": torch.randn(1, 16, 19, ROWS, COLUMNS),
        "pose": torch.randn(1, 16, T, ROWS, COLUMNS),
    }


@torch.no_grad()
def velocity(model, inputs, **changed):
    given = inputs | {"t": torch.tensor([[600.0, 600.0, 0.0]])} | changed
    return model(
        given["x"], given["t"], given["text"], speech_BTJD=model.read_speech(given["states"]),
        before_BCTYX=given["before"], pose_BCTYX=given["pose"],
    )  # fmt: skip


@torch.no_grad()
def test_tokens_of_the_sound_are_those_of_the_formula(model, inputs):
    encoder = model.casual_audio_encoder
    weights = F.silu(encoder.weights)
    states = inputs["states"]
    mixed = (states * weights).sum(1) / weights.sum()
    x = torch.cat((mixed[..., :1].repeat(1, 1, 73), mixed), dim=-1)[0]  # (E, F)

    def conv(layer, x, stride):
        padded = torch.cat((x[:, :1], x[:, :1], x), dim=1)
        steps = range(0, x.shape[1], stride)
        columns = [padded[:, n : n + 3] for n in steps]
        return torch.stack([
            torch.einsum("oik,ik->o", layer.conv.weight, each) + layer.conv.bias
            for each in columns
        ], dim=1)  # fmt: skip

    def act(x):
        return F.silu(F.layer_norm(x.T, (len(x),), eps=1e-6)).T

    found = []
    for part in (*conv(encoder.encoder.conv1_local, x, 1).chunk(2),
                 conv(encoder.encoder.conv1_global, x, 1)):  # fmt: skip
        part = act(conv(encoder.encoder.conv2, act(part), 2))
        found.append(act(conv(encoder.encoder.conv3, part, 2)).T[19:])
    whole = encoder.encoder.final_linear(found.pop())
    padding = encoder.encoder.padding_tokens[0, 0].expand(T, -1)
    expected = torch.stack((*found, padding, whole), dim=1)[None]
    torch.testing.assert_close(model.read_speech(states), expected, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_attention_to_sound_is_that_of_the_formula(model, inputs):
    x, sound = torch.randn(1, T * 6, 48), model.read_speech(inputs["states"])
    reads = model.audio_injector.injector[1]
    adapt = model.audio_injector.injector_adain_layers[1].linear
    expected = []
    for frame in range(T):
        shift, scale = adapt(F.silu(sound[0, frame, -1])).chunk(2)
        u = F.layer_norm(x[0, 6 * frame : 6 * frame + 6], (48,), eps=1e-5) * (1 + scale) + shift
        tokens = sound[0, frame, :-1]
        q = F.rms_norm(reads.q(u), (48,), reads.norm_q.weight, 1e-6).view(6, 2, 24)
        k = F.rms_norm(reads.k(tokens), (48,), reads.norm_k.weight, 1e-6).view(-1, 2, 24)
        v = reads.v(tokens).view(-1, 2, 24)
        scores = torch.einsum("qnd,knd->nqk", q, k) / 24**0.5
        expected.append(reads.o(torch.einsum("nqk,knd->qnd", scores.softmax(-1), v).flatten(1)))
    ours = model.audio_injector(1, x, sound)
    torch.testing.assert_close(ours, torch.cat(expected)[None], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_frames_before_are_cut_into_patches_by_their_age(model, inputs):
    packer, z = model.frame_packer, inputs["before"]
    tokens = packer(z)
    newest, middle, oldest = z[:, :, 18:], z[:, :, 16:18], z[:, :, :16]
    counts = []
    for layer, part in ((packer.proj, newest), (packer.proj_2x, middle), (packer.proj_4x, oldest)):
        counts.append(np.prod([s // k for s, k in zip(part.shape[2:], layer.stride, strict=True)]))
        first = tuple(slice(0, k) for k in layer.stride)
        corner = torch.einsum("octyx,ctyx->o", layer.weight, part[0][(slice(None), *first)])
        place = sum(counts[:-1])
        torch.testing.assert_close(tokens[0, place], corner + layer.bias, atol=1e-4, rtol=1e-4)
    assert tokens.shape[1] == sum(counts) == 32 + 8 + 8
    short = packer(z[:, :, -2:])
    padded = F.pad(z[:, :, -2:], (0, 0, 0, 0, 17, 0))
    assert torch.equal(short, packer(padded))
    assert packed_positions(8, 16) == [
        [(-1,), [0, 1, 2, 3], list(range(8))],
        [(-3,), [0, 3], [0, 2, 4, 7]],
        [(-19, -14, -9, -4), [0], [0, 7]],
    ]


def test_every_input_counts_and_the_first_clip_has_no_frames_before_it(model, inputs):
    plain = velocity(model, inputs)
    assert not plain[:, :, -1].any()
    assert plain[:, :, :-1].std() > 0.1
    for name in ("x", "states", "before", "pose", "text"):
        other = velocity(model, inputs, **{name: inputs[name] + 1})
        assert (other - plain).abs().max() > 1e-3, name
    picture = inputs["x"].clone()
    picture[:, :, -1] += 1
    assert (velocity(model, inputs, x=picture) - plain).abs().max() > 1e-3
    without = {"before": None, "pose": torch.zeros_like(inputs["pose"])}
    first = velocity(model, inputs, **without)
    assert (first - plain).abs().max() > 1e-3
    torch.testing.assert_close(velocity(model, inputs, **without | {"pose": None}), first)


def test_the_precisions_agree_and_a_batch_is_its_items(model, inputs, tmp_path):
    save_dit(model, tmp_path)
    fast = load_dit(tmp_path).eval()
    assert fast.shape == SHAPE
    plain = velocity(model, inputs)
    torch.testing.assert_close(velocity(fast, inputs), plain, atol=2e-5, rtol=1e-5)
    two = {name: torch.cat((tensor, tensor.flip(-1))) for name, tensor in inputs.items()}
    both = velocity(fast, two)
    torch.testing.assert_close(both[:1], plain, atol=2e-5, rtol=1e-5)
    each = velocity(fast, {name: tensor[1:] for name, tensor in two.items()})
    torch.testing.assert_close(both[1:], each, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"t": torch.tensor([600.0])}, "timesteps: need one for each latent frame"),
        ({"x": torch.zeros(1, 16, T + 1, 4, 16)}, "must be multiples of 8"),
        ({"states": torch.zeros(1, 3, 10, 4)}, r"speech: got \(1, 1\); need \(1, 2\)"),
        ({"pose": torch.zeros(1, 16, 1, ROWS, COLUMNS)}, "pose: got"),
        ({"before": torch.zeros(1, 16, 19, 4, 4)}, "before: got"),
    ],
)
def test_sizes_that_do_not_fit_are_named(model, inputs, changed, message):
    with pytest.raises(ValueError, match=message):
        velocity(model, inputs, **changed)


def test_new_weights_let_neither_sound_nor_poses_count(inputs):
    torch.manual_seed(2)
    fresh = make_dit(replace(SHAPE, num_layers=3)).eval()
    torch.nn.init.normal_(fresh.head.head.weight)
    plain = velocity(fresh, inputs)
    assert plain.std() > 0.1
    for name in ("states", "pose"):
        assert torch.equal(velocity(fresh, inputs, **{name: inputs[name] + 1}), plain)

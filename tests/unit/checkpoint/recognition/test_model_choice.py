"""What the recipe says of its model, against what the weights are: rules, refusals, licences."""

import pytest
import torch
from family_models import state_of
from safetensors.torch import save_file

from wanctl.checkpoint.recognition import model_choice
from wanctl.checkpoint.recognition.model_choice import ModelKeys, choose_model
from wanctl.checkpoint.registry.rules import rule_text, warn_of_fixed
from wanctl.checkpoint.registry.structures import CLIP, MUSIC, REFERENCE, TALK, Structure
from wanctl.checkpoint.registry.table import checkpoints
from wanctl.errors import ProblemsError
from wanctl.log import info_once, warn_once
from wanctl.model.variant_table import VARIANTS
from wanctl.recipe.load import load_recipe, shipped_recipes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small models and LoRAs under the names that people give them."""
    folder = tmp_path_factory.mktemp("weights")
    plain = state_of(Structure())
    for name in (
        "self_forcing_dmd",
        "krea-realtime",
        "Phantom-Wan-14B",
        "mine",
        "causvid-14b",
    ):
        save_file(plain, folder / f"{name}.safetensors")
    dance = state_of(Structure(2, 4, 16, frozenset({CLIP, MUSIC, REFERENCE})))
    save_file(dance, folder / "dance.safetensors")
    talk = state_of(Structure(2, 4, 16, frozenset({CLIP, TALK})))
    save_file(talk, folder / "infinitetalk.safetensors")
    lora = {"blocks.0.ffn.0.lora_A.weight": torch.zeros(2, 128)}
    for name in ("lightx2v-4steps-lora", "causvid-lora", "cat"):
        save_file(lora, folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def choose(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def choose(weights=None, loras=(), **keys):
        loras = tuple(f"{name}.safetensors" for name in loras)
        weights = f"{weights}.safetensors" if weights else None
        return choose_model(ModelKeys(weights=weights, loras=loras, **keys))

    return choose


def problems(choose, *args, **keys) -> str:
    with pytest.raises(ProblemsError) as caught:
        choose(*args, **keys)
    [(path, message)] = caught.value.problems
    assert "\n" not in message
    return f"{path}: {message}"


def test_weights_alone_give_network_rule_and_name(choose, caplog):
    caplog.set_level("INFO", "wanctl")
    info_once.cache_clear()
    choice = choose("self_forcing_dmd")
    assert choice.variant.name == "wan2.1-t2v-1.3b"
    assert choice.variant.defaults == checkpoints()["self-forcing-1.3b"].defaults
    assert choice.metadata() == {"checkpoint": "self-forcing-1.3b"}
    choice.report()
    choice.report()
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(
        "Self-Forcing (self-forcing-1.3b): 4 steps at 1000 937.5 833.3 625, no guidance, lcm; "
        "832x480, 81 frames at 16 fps; licence: Apache-2.0"
    )


def test_official_and_unknown_weights_are_run_as_before(choose, caplog):
    caplog.set_level("INFO", "wanctl")
    for keys in (
        {}, {"weights": "mine"}, {"weights": "nowhere"}, {"loras": ["cat"]}, {"loras": ["nowhere"]},
    ):  # fmt: skip
        choice = choose(**keys)
        assert choice.variant == VARIANTS["wan2.1-t2v-1.3b"]
        assert (choice.fixed, choice.metadata()) == ({}, {})
        choice.report()
    assert choose("mine", variant="wan2.1-t2v-14b").variant == VARIANTS["wan2.1-t2v-14b"]
    # the start of a training, of which the variant decides
    assert choose("mine", variant="tiny-i2v").variant == VARIANTS["tiny-i2v"]
    assert not caplog.records


def test_the_variant_chooses_between_sizes_and_rules(choose):
    choice = choose("causvid-14b", variant="wan2.1-t2v-14b", accept_license="causvid-14b")
    assert choice.row.name == "causvid-14b"
    assert len(choice.variant.defaults.levels) == 9
    choice = choose("causvid-14b", variant="wan2.1-t2v-1.3b", accept_license="causvid-1.3b")
    assert choice.row.name == "causvid-1.3b"


def test_model_checkpoint_says_what_names_do_not(choose):
    choice = choose("mine", checkpoint="self-forcing-1.3b")
    assert choice.variant.defaults.levels
    choice = choose("self_forcing_dmd", checkpoint="wan2.1-t2v-1.3b")
    assert choice.variant == VARIANTS["wan2.1-t2v-1.3b"]
    choice = choose("mine", ["cat"], checkpoint="lightx2v-lora-t2v-14b")
    assert choice.variant.name == "wan2.1-t2v-1.3b"
    assert choice.variant.defaults.solver == "euler"


def test_a_lora_brings_its_schedule_and_leaves_the_rest(choose):
    base = VARIANTS["wan2.1-t2v-14b"].defaults
    choice = choose("mine", ["cat", "lightx2v-4steps-lora"], variant="wan2.1-t2v-14b")
    assert choice.lora.name == "lightx2v-lora-t2v-14b"
    got = choice.variant.defaults
    assert (got.steps, got.guide_scale, got.solver) == (4, 1, "euler")
    assert (got.height, got.frames, got.negative_prompt) == (
        base.height, base.frames, base.negative_prompt,
    )  # fmt: skip
    two = choose(None, ["lightx2v-4steps-lora"], variant="wan2.2-i2v-a14b").variant
    assert (two.experts, two.defaults.boundary, two.defaults.guide_scale) == (2, 0.9, 1)
    assert two.defaults.levels == got.levels


@pytest.mark.parametrize(
    ("weights", "keys", "message"),
    [
        ("mine", {"checkpoint": "krea-14b"}, "model.checkpoint: no checkpoint named 'krea-14b'; "),
        ("mine", {"variant": "wan3"}, "model.variant: no variant named 'wan3'"),
        ("mine", {"accept_license": "nc"}, "model.accept_license: no checkpoint named 'nc'"),
        ("mine", {"checkpoint": "wan2.1-vae"}, "model.checkpoint: Wan2.1_VAE is a vae; need a "),
        (
            "mine", {"checkpoint": "rcm-t2v-14b", "variant": "wan2.1-t2v-1.3b"},
            "model.variant: got wan2.1-t2v-1.3b, and model.checkpoint rcm-t2v-14b is a wan2.1-t2v",
        ),
        (
            "mine", {"checkpoint": "wan2.1-i2v-14b-480p"},
            "model.checkpoint: mine.safetensors does not have the tensors of Wan2.1-I2V-14B-480P, "
            "but of Wan2.1-T2V-1.3B",
        ),
        (
            None, {"checkpoint": "self-forcing-1.3b"},
            "model.weights: not set; Self-Forcing needs its own weights, e.g. `--set model.weights",
        ),
        (
            "mine", {"checkpoint": "causvid-lora-14b"},
            "model.checkpoint: CausVid LoRA, 14B is a LoRA; name its file under model.loras",
        ),
        (
            "dance", {}, "model.weights: dance.safetensors: is Wan-Dancer-14B (global), which is "
            "not run: music to dance needs a music injector",
        ),
        (
            "dance", {"variant": "wan2.1-i2v-14b-480p"},
            "model.weights: dance.safetensors: is Wan-Dancer-14B (global), which is not run: ",
        ),
        ("infinitetalk", {}, "is not run: its audio attention is not there yet; if it is another "
         "model, name that with model.checkpoint"),
        ("infinitetalk", {"checkpoint": "multitalk-14b"}, "MultiTalk is not run: "),
        (
            "krea-realtime", {},
            "model.accept_license: krea-realtime-video-14b is under CC BY-NC-SA "
            "4.0, which forbids commercial use; accept that with `--set "
            "model.accept_license=krea-realtime-14b`",
        ),
        (
            "mine", {"loras": ["causvid-lora"], "variant": "wan2.1-t2v-14b"},
            "model.accept_license: CausVid LoRA, 14B is under CC BY-NC-SA 4.0",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_one_line(choose, weights, keys, message):
    assert message in problems(choose, weights, **keys)


def test_a_name_tells_a_model_of_references_from_its_base(choose):
    variant = choose("Phantom-Wan-14B").variant
    assert variant.tasks == ("r2v",)
    assert (variant.defaults.guide_scale, variant.defaults.reference_guide_scale) == (7.5, 5)
    assert choose("mine").variant.tasks == ("t2v", "t2i")


def test_accepting_a_licence_accepts_it_for_all_that_carry_it(choose):
    choice = choose(
        "krea-realtime", ["causvid-lora"], variant="wan2.1-t2v-14b",
        accept_license="krea-realtime-14b",
    )  # fmt: skip
    assert [row.name for row in choice.rules] == ["krea-realtime-14b", "causvid-lora-14b"]


def test_hub_ids_of_rows_need_no_files(monkeypatch):
    monkeypatch.setattr(model_choice, "find_components", lambda ref: pytest.fail(ref))
    monkeypatch.setattr(model_choice, "cached_components", lambda ref: None)
    choice = choose_model(ModelKeys(weights="gdhe17/Self-Forcing"), download=True)
    assert choice.row.name == "self-forcing-1.3b"
    assert choose_model(ModelKeys(weights="someone/else")).row is None


def test_settings_that_are_known_to_fail_are_warned_of_once(caplog):
    warn_once.cache_clear()
    row = checkpoints()["lightx2v-t2v-14b"]
    values = {"guide_scale": 5.0, "steps": 4, "shift": 8.0, "solver": "unipc", "levels": None}
    for _ in range(2):
        warn_of_fixed(row.fixed, values, row.defaults)
    shift, scale = [record.getMessage() for record in caplog.records]
    assert shift.startswith("sample.shift is 8.0; it is distilled at fixed noise levels; others")
    assert scale.startswith("sample.guide_scale is 5.0; it is distilled for a scale of 1; ")
    caplog.clear()
    warn_of_fixed(row.fixed, {"guide_scale": 1.0, "shift": row.defaults.shift}, row.defaults)
    assert not caplog.records


def test_levels_and_scales_are_compared_as_people_write_them(caplog):
    warn_once.cache_clear()
    row = checkpoints()["wan2.2-distill-t2v-a14b"]
    fine = {"guide_scale": (1.0, 1), "levels": (1, 0.9375, 0.8333, 0.625), "steps": 4}
    warn_of_fixed(row.fixed, fine, row.defaults)
    assert not caplog.records
    bad = {"guide_scale": (1.0, 2.0), "levels": (1, 0.9, 0.8333, 0.625)}
    warn_of_fixed(row.fixed, bad, row.defaults)
    assert len(caplog.records) == 2


FEW_STEPS = [n for n in shipped_recipes() if "light" in n]


@pytest.mark.parametrize("name", FEW_STEPS)
def test_shipped_recipes_keep_to_the_rule(name, caplog):
    warn_once.cache_clear()
    recipe = load_recipe(name).recipe
    choice = choose_model(ModelKeys(**recipe.model.choice))
    assert choice.lora, "the names of its LoRAs are recognised"
    warn_of_fixed(choice.fixed, dict(recipe.sample), choice.variant.defaults)
    assert not caplog.records
    defaults = choice.variant.defaults
    assert (recipe.sample.solver, recipe.sample.guide_scale) in (
        (defaults.solver, defaults.guide_scale), (None, None),
    )  # fmt: skip


def test_rules_in_words():
    assert rule_text(checkpoints()["wan2.2-t2v-a14b"]) == (
        "40 steps, shift 12, guidance 3 / 4, unipc, experts part at 0.875; 1280x720, 81 frames at "
        "16 fps"
    )
    assert "shift 5 (3 at 480p), guidance 5" in rule_text(checkpoints()["wan2.1-i2v-14b-480p"])
    assert rule_text(checkpoints()["wan2.1-vae"]) == ""

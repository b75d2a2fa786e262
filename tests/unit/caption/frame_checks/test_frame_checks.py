"""The optional checks with small random models, built on the spot in the published layouts."""

import json

import numpy as np
import pytest
import torch

from wanctl.caption.checks.facts import MeasuredFacts
from wanctl.caption.frame_checks.detector import ObjectCounter, sure_counts
from wanctl.caption.frame_checks.measure import ClipFrameChecks, FrameChecks
from wanctl.caption.frame_checks.models import CheckModelError
from wanctl.caption.frame_checks.similarity import CaptionSimilarity
from wanctl.vlm.chat import Frames

NOTHING = MeasuredFacts(5.0, None, None, {}, None, None, None, ())


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]


@pytest.fixture
def clip_folder(tmp_path):
    """A random CLIP of transformers with a tokenizer of letters."""
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPProcessor,
        CLIPTokenizer,
    )

    letters = [chr(code) for code in range(97, 123)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{each}</w>" for each in letters)]
    (tmp_path / "vocab.json").write_text(json.dumps({each: i for i, each in enumerate(tokens)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    text = {"vocab_size": len(tokens), "max_position_embeddings": 77, "num_attention_heads": 2}
    vision = {"image_size": 32, "patch_size": 16, "num_attention_heads": 2}
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**tower, **text, **special}, vision_config={**tower, **vision},
        projection_dim=8,
    )  # fmt: skip
    folder = tmp_path / "clip"
    CLIPModel(config).save_pretrained(folder)
    tokenizer = CLIPTokenizer(
        str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"), model_max_length=77
    )
    size = {"shortest_edge": 32}
    pictures = CLIPImageProcessor(size=size, crop_size={"height": 32, "width": 32})
    CLIPProcessor(pictures, tokenizer).save_pretrained(folder)
    return str(folder)


def test_a_caption_less_similar_than_wanted_is_flagged(clip_folder, images):
    frames = Frames(tuple(images), (0.0, 1.0, 2.0))
    similarity = CaptionSimilarity(clip_folder, min_similarity=-1.0, device="cpu")
    vector = similarity.embed_frames(images)
    value = similarity.similarity(vector, "a dog runs. the sun shines.")
    assert -1 < value < 1
    assert value == similarity.similarity(vector, "a dog runs. the sun shines.")
    assert value != similarity.similarity(vector, "two cats sleep.")
    for margin, flagged in ((-0.001, False), (0.001, True)):
        strict = CaptionSimilarity(clip_folder, min_similarity=value + margin, device="cpu")
        checks = ClipFrameChecks(strict, frames)
        found = checks.check_caption("a dog runs. the sun shines.", "default", None, NOTHING)
        assert [each.check for each in found] == ["similarity"] * flagged
        assert not checks.check_caption("a dog runs. the sun shines.", "motion-x", None, NOTHING)


def test_an_open_clip_folder_is_read_as_well(tmp_path, images):
    import open_clip
    from safetensors.torch import save_file

    vision = {"image_size": 32, "layers": 1, "width": 16, "patch_size": 16, "head_width": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    torch.manual_seed(0)
    model = open_clip.CLIP(**{**config, "quick_gelu": False})
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()},
        tmp_path / "open_clip_model.safetensors",
    )
    preprocessing = {"mean": [0.5] * 3, "std": [0.5] * 3}
    stored = json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing})
    (tmp_path / "open_clip_config.json").write_text(stored)
    similarity = CaptionSimilarity(str(tmp_path), min_similarity=0.0, device="cpu")
    assert -1 < similarity.similarity(similarity.embed_frames(images), "a dog runs.") < 1


def test_a_detector_counts_on_frames_of_two_sizes(tmp_path, images):
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=[32, 32], patch_size=16, num_detection_tokens=3,
        id2label={0: "Person", 1: "Dog"}, label2id={"Person": 0, "Dog": 1},
    )  # fmt: skip
    model = YolosForObjectDetection(config)
    with torch.no_grad():  # every box is a person, for certain
        last = model.class_labels_classifier.layers[-1]
        last.weight.zero_()
        last.bias.copy_(torch.tensor([20.0, 0.0, 0.0]))
    model.save_pretrained(tmp_path)
    YolosImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    counter = ObjectCounter(str(tmp_path), device="cpu")
    mixed = [*images, images[0][::2, ::2]]
    assert counter.counts(mixed) == {"person": 3}
    clip = type("Clip", (), {"duration_s": 2.0, "evidence": {}})()
    facts, checks = FrameChecks(None, counter).measure(clip, Frames(tuple(mixed), ()))
    found = checks.check_caption("Four people stand in a room.", "default", None, facts)
    assert [each.check for each in found] == ["count"]
    assert not checks.check_caption("Three people stand in a room.", "default", None, facts)


def test_a_number_is_sure_where_most_frames_agree_without_doubt():
    certain, doubtful = ("dog", 0.95), ("dog", 0.6)
    assert sure_counts([[certain, certain]] * 3 + [[certain]]) == {"dog": 2}
    assert sure_counts([[certain, certain]] * 2 + [[certain]] * 2) == {}
    assert sure_counts([[certain, certain, doubtful]] * 4) == {}
    assert sure_counts([[certain] * 9] * 4) == {}
    assert sure_counts([[("dog", 0.1)]] * 4) == {}


@pytest.mark.parametrize("name", ["./none", "none", "/nowhere/clip"])
def test_a_missing_model_is_one_line(name, images):
    for check, key in (
        (CaptionSimilarity(name, min_similarity=0.1, device="cpu").embed_frames, "similarity"),
        (ObjectCounter(name, device="cpu").counts, "detector"),
    ):
        with pytest.raises(CheckModelError, match=rf"^caption\.checks\.{key}: {name}: [^\n]+$"):
            check(images)


def test_a_folder_without_a_model_is_one_line(tmp_path, images):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckModelError, match=r"^caption\.checks\.detector: [^\n]+$"):
        ObjectCounter(str(tmp_path), device="cpu").counts(images)
    with pytest.raises(CheckModelError, match=r"^caption\.checks\.similarity: [^\n]+$"):
        CaptionSimilarity(str(tmp_path), min_similarity=0.1, device="cpu").embed_frames(images)

"""Classes from words: CLIP's own text tower, captions beside the source, and trained heads."""

import numpy as np
import pytest

from wanctl.curate.api import FilterUnavailableError, UserError
from wanctl_filters.category.caption_vectors import CaptionEmbedder, read_caption
from wanctl_filters.category.filter import CLASSES, TEMPLATES, Category

# One line each as captioners write them, chosen without regard to the class descriptions.
CAPTIONS = {
    "technology": "a close-up of hands typing on a laptop keyboard beside a smartphone",
    "animals": "two dolphins leap side by side while a dog barks on the shore",
    "arts": "a ballet dancer performs on a stage to the music of an orchestra",
    "people": "portrait of an old man with a beard who smiles at the camera",
    "vehicles": "a red sports car overtakes a truck on the motorway",
    "nature": "fog drifts over a valley between snow-covered mountains and a forest",
    "architecture": "the cathedral and the bridge over the river in the old city",
    "food": "a cook stirs noodles in a pan and serves them with sauce",
    "sports": "a goalkeeper dives to stop the ball in a football match",
    "home": "a living room with a sofa, a bookshelf and a lamp",
    "animation": "a cartoon rabbit chases a squirrel in an animated film",
}


@pytest.fixture(scope="module")
def clip_files(tmp_path_factory, clip_folder):
    return clip_folder(tmp_path_factory.mktemp("clip"))[0]


def test_there_are_twelve():
    assert len(CLASSES) == 12
    assert set(CLASSES) >= {"technology", "animals", "arts", "people", "vehicles"}


def test_captions_name_their_classes(tmp_path, row, texture, batch_of):
    pairs = []
    for name, text in CAPTIONS.items():
        (tmp_path / f"{name}.txt").write_text(text)
        pairs.append((row(texture, source=str(tmp_path / f"{name}.mp4")), texture))
    pairs.append((row(texture, source=str(tmp_path / "silent.mp4")), texture))
    filter_ = Category(embedding="caption", device="cpu")
    batch = batch_of(filter_, pairs)
    verdicts = filter_.decide_many(batch)
    right = [label == name for label, name in zip(verdicts.label, CAPTIONS, strict=False)]
    assert sum(right) >= len(CAPTIONS) - 1, verdicts.label.tolist()
    # without a caption there is no class, and the clip is kept
    assert verdicts.label[-1] is None
    assert verdicts[-1].keep
    assert verdicts[-1].score is None

    no_cars = filter_.model_copy(update={"drop": ("vehicles",)}).decide_many(batch)
    row_of = list(CAPTIONS).index("vehicles")
    assert np.flatnonzero(~no_cars.keep).tolist() == [row_of]
    assert no_cars[row_of].reason.startswith("vehicles, with probability 0.")
    unsure = filter_.model_copy(update={"min_probability": 1.0}).decide_many(batch)
    assert set(unsure.label) == {None}


def test_zero_shot_equals_clips_own(clip_files, row, texture, batch_of):
    """Cosines of picture and text towers, scaled and made probabilities: by hand."""
    import open_clip
    import torch
    from PIL import Image

    filter_ = Category(clip_weights=str(clip_files), device="cpu", samples=1)
    frame = texture[:1]
    verdicts = filter_.decide_many(batch_of(filter_, [(row(frame), frame)]))
    name = f"local-dir:{clip_files}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    tokenizer = open_clip.get_tokenizer(name)
    with torch.no_grad():
        image = model.eval().encode_image(preprocess(Image.fromarray(frame[0]))[None], True)
        text_vectors = []
        for description in CLASSES.values():
            texts = tokenizer([template.format(description) for template in TEMPLATES])
            mean = model.encode_text(texts, True).mean(dim=0)
            text_vectors.append(mean / mean.norm())
        logits = model.logit_scale.exp() * image @ torch.stack(text_vectors).T
        chances = logits.softmax(dim=1)[0]
    assert verdicts.label[0] == list(CLASSES)[int(chances.argmax())]
    assert verdicts.score[0] == pytest.approx(float(chances.max()), rel=0.02)


def test_stored_text_vectors_decide_equally_without_a_model(
    clip_files, row, texture, batch_of, tmp_path
):
    from safetensors.numpy import save_file

    filter_ = Category(clip_weights=str(clip_files), device="cpu")
    batch = batch_of(filter_, [(row(texture), texture)])
    stored = filter_.train(batch, None)
    save_file(dict(stored.tensors), tmp_path / "head", metadata=dict(stored.metadata))
    with_head = Category(clip_weights=str(clip_files), device="cpu", head=str(tmp_path / "head"))
    ours, theirs = filter_.decide_many(batch), with_head.decide_many(batch)
    assert theirs.score == pytest.approx(ours.score, rel=1e-4)
    assert theirs.label.tolist() == ours.label.tolist()
    assert "_loaded" not in vars(with_head)


def test_the_packaged_network_wants_labels(row, texture, batch_of):
    filter_ = Category(embedding="cnn", device="cpu")
    with pytest.raises(FilterUnavailableError, match="has no text encoder; label some clips"):
        filter_.decide_many(batch_of(filter_, [(row(texture), texture)]))
    with pytest.raises(UserError, match="of two classes or more"):
        filter_.train(batch_of(filter_, [(row(texture), texture)]), ["animals"])


def test_captions_are_read_from_the_file_next_to_the_source(tmp_path):
    (tmp_path / "a.b.txt").write_bytes("two  lines\nof\ttext \xe9".encode("latin-1"))
    assert read_caption(str(tmp_path / "a.b.mp4")) == "two lines of text �"
    assert read_caption(str(tmp_path / "other.mp4")) == ""
    assert read_caption(f"file://{tmp_path}/a.b.mp4").startswith("two")


def test_each_caption_is_embedded_alone():
    embedder = CaptionEmbedder(device="cpu")
    short, long = "a dog", "a dog that runs through " * 30
    np.testing.assert_array_equal(embedder.embed([short, long])[0], embedder.embed([short])[0])

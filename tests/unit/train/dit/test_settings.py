import pytest

from wanctl.recipe.load import load_recipe
from wanctl.train.dit.settings import dropped_text


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ([], "blurred"),
        (["model.weights=base"], ""),
        (["model.weights=base", "train_dit.text_dropout_to=negative"], "blurred"),
        (["train_dit.text_dropout_to=empty"], ""),
    ],
)
def test_a_trained_model_is_not_shown_good_footage_under_its_negative_prompt(overrides, text):
    assert dropped_text(load_recipe("tiny", overrides), "blurred") == text

"""Keys of `sample.rewrite`: how a prompt is rewritten before it is sampled."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wanctl.recipe.captions.chat_model import ChatModelSection
from wanctl.recipe.section import ContradictionError, Section


class RewriteSection(Section):
    """Prompts in the form of the captions that the transformer was trained with."""

    enabled: bool = Field(
        default=False,
        description="rewrite prompts before sampling: style, summary, detail, 80 to 100 words, "
        "with what was said and no other meaning; the output's header holds both texts",
    )
    model: ChatModelSection | None = Field(
        default=None,
        description="language model that rewrites, and sees the input pictures; null: prompts are "
        "only tidied: white space, doubled punctuation, quotation marks around the whole",
    )
    language: Literal["auto", "en", "zh"] = Field(
        default="auto", description="of the rewritten prompt; `auto`: that of the prompt"
    )

    @model_validator(mode="after")
    def _model_has_a_name(self) -> Self:
        if self.model is not None and self.model.model is None:
            raise ContradictionError(
                "model.model", "got null; name the model, or leave `model` out to only tidy prompts"
            )
        return self

"""The filter that the README shows is a filter."""

import re
from pathlib import Path

import numpy as np

README = Path(__file__).parents[2] / "filters" / "README.md"


def test_the_example_works(judge, texture):
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert code
    space: dict = {"__name__": "colour"}
    exec(code[1], space)
    colour = space["Colour"]
    assert judge(colour(), texture)[1].keep
    grey = np.repeat(texture[:, :, :, :1], 3, axis=3)
    assert judge(colour(), grey)[1].reason == "chroma 0"
    assert colour(min_chroma=0).config_hash() == colour().config_hash()

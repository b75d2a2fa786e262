"""previews.html beside a run's previews."""

import re
import urllib.parse

import numpy as np
import pytest
import torch

from wanctl.train.loop import train
from wanctl.train.objective import Preview

CPU = torch.device("cpu")


@pytest.fixture
def videos(toy):
    class Videos(toy):
        caption = "a <b>prompt</b>"

        def preview(self, item, device):
            frames = np.full((4, 16, 16, 3), 40 * item, np.uint8)
            return Preview(frames, f"{self.caption} {item}", 8.0)

    return Videos


def test_the_page_grows_with_the_steps_and_plays_their_files(videos, tmp_path, toy_options, lines):
    with pytest.raises(KeyboardInterrupt):
        train(videos(stop_at=7), tmp_path, toy_options(), device=CPU)
    first = (tmp_path / "previews.html").read_text()
    assert re.findall(r"<th>(before training|step \d+)", first) == ["before training", "step 6"]
    train(videos(), tmp_path, toy_options(), device=CPU)
    page = (tmp_path / "previews.html").read_text()
    # the newest below those before training, with which it is compared
    shown = ["before training", "step 12", "step 6"]
    assert re.findall(r"<th>(before training|step \d+)", page) == shown
    sources = [urllib.parse.unquote(each) for each in re.findall(r'data-src="([^"]+)"', page)]
    assert len(sources) == 9
    assert all((tmp_path / source).stat().st_size > 100 for source in sources)
    losses = {line["step"]: line["mse"] for line in lines(tmp_path) if "eval" in line}
    assert re.findall(r"<small>mse ([\d.]+)</small>", page) == [
        f"{losses[step]:.4g}"
        for step in (0, 12)  # none at step 6
    ]
    assert "a &lt;b&gt;prompt&lt;/b&gt; 1" in page
    assert "<b>" not in page


def test_other_prompts_of_earlier_steps_stand_below_them(videos, tmp_path, toy_options):
    with pytest.raises(KeyboardInterrupt):
        train(videos(stop_at=7), tmp_path, toy_options(), device=CPU)
    changed = videos()
    changed.caption = "another"
    train(changed, tmp_path, toy_options(), device=CPU)
    page = (tmp_path / "previews.html").read_text()
    assert page.count("<p>a &lt;b&gt;prompt&lt;/b&gt; 1</p>") == 2
    assert page.count("<th>another 1</th>") == 1


def test_stills_are_shown_as_one_sheet(toy, tmp_path, toy_options):
    train(toy(), tmp_path, toy_options(), device=CPU)
    page = (tmp_path / "previews.html").read_text()
    images = re.findall(r'<td colspan="3"><img src="([^"]+)"', page)
    assert images == [f"previews/step-{step:06d}.png" for step in (0, 12, 6)]

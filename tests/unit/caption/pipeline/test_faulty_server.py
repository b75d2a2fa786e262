import json

import pytest

from tests.unit.caption.pipeline.stub_world import StubFrames, make_dataset, recipe, rows
from tests.unit.vlm.stub_server import FAULTS, FaultPlan, StubServer
from wanctl.caption import job
from wanctl.caption.run import caption


@pytest.mark.parametrize("clips", [12, pytest.param(170, marks=pytest.mark.slow)])
def test_a_faulty_server_loses_and_mixes_up_nothing(clips, tmp_path, monkeypatch):
    make_dataset(tmp_path, clips)
    monkeypatch.setattr(job, "DecodedFrames", StubFrames)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    faults = FaultPlan(dict.fromkeys(FAULTS, 0.02), seed=1)
    with StubServer(faults=faults) as server:
        model = (
            f"{{backend: openai, model: stub, url: '{server.url}', parallel: 16, timeout_s: 2, "
            "attempts: 6}"
        )
        loaded = recipe(tmp_path, "caption.backends=[vlm]", f"caption.model={model}")
        caption(loaded, tmp_path / "out")
        assert sum(server.faulty.values()) >= clips / 8
    subjects = {
        row["id"]: json.loads(row["structure"])["object_category"][0]
        for row in rows(tmp_path, "structures")
    }
    captions = rows(tmp_path, "captions")
    flags = {(row["id"], row["variant"]) for row in rows(tmp_path, "caption_flags")}
    assert len(subjects) + sum(variant == "structure" for _, variant in flags) == clips
    assert len(captions) + len(flags - {(each, "structure") for each, _ in flags}) == 2 * len(
        subjects
    )
    for row in captions:
        if row["variant"].endswith("-en"):
            assert subjects[row["id"]] in row["text"]

"""What captioners are told of a clip whose title was trimmed away."""

from wanctl.caption.checks.facts import measured_facts
from wanctl.caption.trimmed_evidence import evidence_in_span
from wanctl.video.frames import trimmed

LINE = [0, 0, 9, 0, 9, 9, 0, 9]
ROW = {"id": "a", "start_pts": 100, "end_pts": 700, "start_s": 1.0, "end_s": 7.0, "num_frames": 150}
EVIDENCE = {
    "ocr": {
        "polygons": [[LINE, LINE], [LINE, LINE], [], [LINE], [LINE], []],
        "texts": ["CHAPTER ONE"],
        "track_texts": ["CHAPTER ONE", "", "EXIT"],
        "track_first_s": [0.0, 0.0, 3.0],
        "track_last_s": [1.5, 1.5, 4.5],
    },
    "blur": {"width": [0.4]},
}


def test_a_title_that_was_trimmed_away_is_not_quoted():
    row = trimmed({**ROW, "span_start_s": 2.0, "span_end_s": 6.0})
    seen = evidence_in_span(EVIDENCE, row)
    assert seen["ocr"]["texts"] == ["EXIT"]
    assert seen["ocr"]["polygons"] == [[], [LINE], [LINE], []]
    assert seen["blur"] == EVIDENCE["blur"]
    facts = measured_facts(row["end_s"] - row["start_s"], seen)
    assert (facts.texts, facts.duration_s) == (("EXIT",), 4.0)
    assert not facts.has_unread_text


def test_evidence_of_a_whole_clip_stays():
    assert evidence_in_span(EVIDENCE, trimmed(ROW)) is EVIDENCE
    row = trimmed({**ROW, "span_start_s": 2.0, "span_end_s": 6.0})
    assert evidence_in_span({"blur": {}}, row) == {"blur": {}}

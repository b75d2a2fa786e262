import pytest

from tests.unit.caption.pipeline.killed_run import PLACES, run_and_kill


@pytest.mark.parametrize(
    ("kills", "clips"), [(1, 60), pytest.param(10, 600, marks=pytest.mark.slow)]
)
def test_kill_9_at_any_moment_loses_only_requests_in_flight(kills, clips, tmp_path):
    found = run_and_kill(tmp_path, clips, parts=3, kills=kills, seed=kills)
    assert found["clips"] == clips
    assert found["captions"] == 2 * clips
    assert found["twice"] == 0
    # answers that had come, and were being read, count as in flight
    assert found["repeated"] <= found["kills"] * 2 * PLACES

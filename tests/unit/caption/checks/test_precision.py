"""Precision and recall of the checks on the demo's captions with injected faults."""

import time

import pytest

from tests.unit.caption.checks.demo_captions import demo_cases
from tests.unit.caption.checks.faults import FAULTS, cases, scores, table

# The phrases and thresholds of the checks were chosen on the first half, and on other captions.
HALVES = {"chosen on": ("bigbuckbunny", "carphone_pristine"), "measured on": ("bikes",)}


@pytest.mark.parametrize("half", HALVES)
def test_faults_are_found_and_other_captions_are_left_alone(half):
    made = cases(demo_cases(HALVES[half]), seed=len(half))
    started = time.process_time()
    found = scores(made)
    each_us = 1e6 * (time.process_time() - started) / len(made)
    print(f"\n{half} {len(made)} captions, {each_us:.0f} us each\n{table(found)}")
    assert len(made) > 180
    for name in FAULTS:
        hits, misses, wrong = found[name]
        assert hits >= 4, name
        assert hits >= 0.9 * (hits + misses), name
        assert hits >= 0.9 * (hits + wrong), name
    assert each_us < 30_000  # measured: 100 to 300

"""The parts of the run apart: journal, queue of requests, budget, occupancy."""

import threading
import time

import numpy as np

from wanctl.caption.pipeline.feeder import Budget
from wanctl.caption.pipeline.journal import Journal, open_answers, read_journal
from wanctl.caption.pipeline.model_threads import Occupancy, RequestQueue
from wanctl.vlm.chat import ChatRequest, Frames


def test_a_journal_survives_a_torn_line_and_keeps_answers_to_open_clips(tmp_path):
    path = tmp_path / "captions" / "part-00000.jsonl"
    journal = Journal(path)
    for name in ("a", "b"):
        answer = {"id": f"{name}/structure", "text": "文", "finish": "stop"}
        journal.append({"answer": answer})
    journal.append({"id": "a", "captions": []})
    with path.open("ab") as file:
        file.write(b'{"id": "c", "cap')
    assert [record.get("id") for record in read_journal(path)] == [None, None, "a"]
    answers = open_answers(path)
    assert {name: answer.text for name, answer in answers.items()} == {"b/structure": "文"}
    journal.clear()
    assert not path.exists()


def request(name: str, *, frames: bool) -> ChatRequest:
    shown = Frames((np.zeros((2, 2, 3), np.uint8),), ()) if frames else None
    return ChatRequest(name, "", "", shown, None, 1, 0.0, 0)


def test_requests_come_in_full_batches_and_follow_ups_before_new_clips():
    queue = RequestQueue()
    for number in range(3):
        queue.put(request(f"clip {number}", frames=True), first=False)
    queue.put(request("again", frames=True), first=True)
    queue.put(request("text", frames=False), first=False)
    assert [each.id for each in queue.take(1)] == ["text"], "a follow-up comes first"
    queue.put(request("text", frames=False), first=False)
    assert [each.id for each in queue.take(3)] == ["again", "clip 0", "clip 1"]
    assert [each.id for each in queue.take(3)] == ["text"]
    queue.close()
    assert queue.take(1) == []


def test_the_budget_holds_back_clips_until_memory_is_free():
    budget = Budget(max_bytes=100, max_clips=3)
    assert budget.acquire(500), "one clip may exceed it"
    waiting = threading.Thread(target=budget.acquire, args=(60,))
    waiting.start()
    time.sleep(0.05)
    assert waiting.is_alive()
    budget.release(500)
    waiting.join(10)
    assert not waiting.is_alive()
    assert budget.acquire(40)
    last = threading.Thread(target=budget.acquire, args=(1,))
    last.start()
    budget.close()
    last.join(10)
    assert not last.is_alive()
    assert not budget.acquire(1)


def test_occupancy_is_the_mean_share_of_places_in_use():
    now = [0.0]
    occupancy = Occupancy(clock=lambda: now[0])
    for seconds, change in ((1.0, 0.5), (2.0, 0.5), (1.0, -1.0)):
        now[0] += seconds
        occupancy.change(change)
    now[0] += 1.0
    assert occupancy.share == (0.5 * 2 + 1.0 * 1) / 5

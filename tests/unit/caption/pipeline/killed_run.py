"""Runs `wanctl caption` over a stub server and kills it at random moments, until it is done."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.unit.caption.pipeline.stub_world import SMALL, make_dataset
from tests.unit.vlm.stub_server import StubProcess
from wanctl.data.dataset import DatasetDir

DELAY_S, PLACES, LONGEST_S = 0.05, 8, 1.5
PROGRAM = """
import sys
from tests.unit.caption.pipeline.stub_world import StubFrames
from wanctl.caption import job
from wanctl.cli.main import main
job.DecodedFrames = StubFrames
main(sys.argv[1:])
"""


def run_and_kill(folder: Path, clips: int, parts: int, kills: int, seed: int) -> dict[str, int]:
    """Kill the command so many times, let it end, and say what the tables and the server hold.

    Returns:
        Numbers: clips with a structure (`clips`), rows of them and of captions that come twice
        (`twice`), captions (`captions`), requests that were repeated (`repeated`), and kills that
        hit a running command (`kills`).
    """
    draw = random.Random(seed)
    make_dataset(folder, clips, parts)
    (folder / "r.yaml").write_text("seed: 0\n")
    with StubProcess(delay_s=DELAY_S, limit=PLACES) as server:
        model = f"{{backend: openai, model: stub, url: '{server.url}', parallel: {PLACES}}}"
        settings = [*SMALL, "caption.backends=[vlm]", f"caption.model={model}"]
        command = [sys.executable, "-c", PROGRAM, "caption", "--recipe", str(folder / "r.yaml")]
        command += ["--out", str(folder / "out")]
        command += [part for each in settings for part in ("--set", each)]
        hit = 0
        for _ in range(kills):
            process = _started(command, server)
            time.sleep(draw.uniform(0, LONGEST_S))
            hit += process.poll() is None
            process.kill()
            process.wait()
        assert _started(command, server, wait=False).wait(300) == 0
        requests = Counter(server.stats()["requests"])
    rows = {kind: _ids(folder, kind) for kind in ("structures", "captions")}
    return {
        "clips": len(set(rows["structures"])),
        "captions": len(rows["captions"]),
        "twice": sum(len(each) - len(set(each)) for each in rows.values()),
        "repeated": sum(requests.values()) - 3 * clips,
        "kills": hit,
    }


def _started(
    command: list[str], server: StubProcess, *, wait: bool = True
) -> "subprocess.Popen[bytes]":
    """The command, once it has sent a request."""
    before = sum(server.stats()["requests"].values())
    process = subprocess.Popen(
        command, env={**os.environ, "OPENAI_API_KEY": "none"}, stderr=subprocess.DEVNULL
    )
    while wait and process.poll() is None:
        if sum(server.stats()["requests"].values()) > before:
            break
        time.sleep(0.02)
    return process


def _ids(folder: Path, kind: str) -> list[tuple[str, str]]:
    dataset = DatasetDir.open(folder / "out" / "dataset")
    return [
        (row["id"], row.get("variant", ""))
        for table in dataset.tables(kind)
        for row in dataset.read(table).to_pylist()
    ]

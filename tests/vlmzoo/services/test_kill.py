"""A process that makes pairs is killed within a line: what it asked stays known, and nothing is there twice."""

import os
import signal
import subprocess
import sys
import time

from tests.vlmzoo.services.test_pair_making import PICTURE, TEXTS, Counting, make_asked, make_maker
from vlmzoo.services.judges import JUDGES
from vlmzoo.services.ledger import Ledger
from vlmzoo.services.pair_making.images import ImageStore
from vlmzoo.services.pair_making.spool import Spool, read_spool

_WORK = """
import sys, time
from dataclasses import replace
from pathlib import Path
from tests.vlmzoo.services.test_kill import make_pairs
make_pairs(Path(sys.argv[1]), range(1000), pause_s=0.02)
"""


def make_pairs(folder, places, *, judge=None, pause_s=0.0):
    maker = make_maker(ledger=Ledger(folder / "ledger.jsonl"), store=ImageStore(folder / "images"), judge=judge)
    spool = Spool(folder / "spool.jsonl")
    for place in places:
        spool.note_outcome(maker.make(make_asked(place, (*TEXTS[:3], f"a green circle {place}")), PICTURE), step=place)
        time.sleep(pause_s)
    return maker


def test_kill_minus_nine(repository, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    process = subprocess.Popen([sys.executable, "-c", _WORK, str(tmp_path)], env=environment, cwd=repository)
    spool = tmp_path / "spool.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not spool.exists() or len(spool.read_bytes().splitlines()) < 9):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL
    with spool.open("ab") as file:
        file.write(b'{"schema": 1, "event": "pa')  # the line that the kill cut
    whole = [row["place"] for row in read_spool(spool) if row["event"] == "prompt"]
    kept = whole[:-1]  # a checkpoint that is a prompt older
    lines = next(number for number, row in enumerate(read_spool(spool)) if row["place"] == whole[-1])
    Spool(spool).cut_to(lines)
    judge = Counting(JUDGES.build({"type": "object_f1"}))
    make_pairs(tmp_path, [whole[-1], whole[-1] + 1, whole[-1] + 2], judge=judge)
    rows = read_spool(spool)
    assert [row["place"] for row in rows if row["event"] == "prompt"] == [*kept, *range(whole[-1], whole[-1] + 3)]
    made = [(row["place"], row["number"]) for row in rows if row["event"] == "pair"]
    assert len(made) == len(set(made)) and judge.items <= 2  # only answers that were never judged are asked for

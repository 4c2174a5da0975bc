"""The loop with an engine of plain torch: order, reports, and gradients that do not depend on the cut."""

import pytest
import torch
from torch import nn

from vlmzoo.errors import MemoryLimitError
from vlmzoo.loop import train
from vlmzoo.objectives.next_token import NextTokenObjective
from vlmzoo.outputs import Batch, Step, VlmOutput


class PlainEngine:
    """What the loop needs of an engine, in a dozen lines of torch."""

    device = torch.device("cpu")

    def __init__(self, accumulation_steps):
        torch.manual_seed(0)
        self.table = nn.Embedding(8, 8)
        self.optimizer = torch.optim.SGD(self.table.parameters(), lr=0.5)
        self.accumulation_steps, self.num_seen = accumulation_steps, 0

    def __call__(self, *, input_ids, labels, attention_mask, return_logits):
        logprobs = self.table(input_ids[:, :-1]).log_softmax(-1).gather(-1, labels[:, 1:, None].clamp(min=0))[..., 0]
        logprobs = logprobs * (labels[:, 1:] != -100)
        return VlmOutput(logprobs=nn.functional.pad(logprobs, (1, 0)))

    def backward(self, loss):
        loss.backward()

    def step(self):
        self.num_seen += 1
        if self.num_seen % self.accumulation_steps:
            return None
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {"lr": 0.5}


def make_steps(cut):
    """Three steps of four rows with targets of unequal number, cut into ``cut`` micro-batches."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        ids = torch.randint(8, (4, 6), generator=generator)
        labels = ids.masked_fill(torch.arange(6) > torch.tensor([[1], [2], [3], [5]]), -100)
        batches = [
            Batch(inputs={"input_ids": i, "labels": lab, "attention_mask": torch.ones_like(i)})
            for i, lab in zip(ids.chunk(cut), labels.chunk(cut), strict=True)
        ]
        counts = [batch.count() for batch in batches]
        yield Step(batches, {name: sum(c[name] for c in counts) for name in counts[0]})


def run(cut):
    engine, reports = PlainEngine(cut), []
    train(engine, make_steps(cut), NextTokenObjective(), num_steps=3, reports=[reports.append])
    return engine, reports


def test_every_step_is_reported_once_in_order():
    _, reports = run(2)
    assert [report.step for report in reports] == [1, 2, 3]
    record = reports[0].record()
    assert record["lr"] == 0.5 and record["tokens"] == 24 and record["targets"] == 11 and record["tokens_per_s"] > 0


def test_losses_and_weights_do_not_depend_on_the_cut():
    reference, expected = run(1)
    for cut in (2, 4):
        engine, reports = run(cut)
        torch.testing.assert_close(engine.table.weight, reference.table.weight)
        for report, other in zip(reports, expected, strict=True):
            assert abs(report.metrics["loss"] - other.metrics["loss"]) < 1e-6


def test_a_run_that_goes_on_takes_the_steps_that_are_left():
    engine, reports = PlainEngine(1), []
    train(engine, make_steps(1), NextTokenObjective(), num_steps=3, reports=[reports.append], first_step=3)
    assert [report.step for report in reports] == [3]


def test_a_run_stops_after_the_step_that_is_its_last():
    engine, reports = PlainEngine(1), []
    options = {"reports": [reports.append], "is_over": lambda report: report.step == 2}
    assert train(engine, make_steps(1), NextTokenObjective(), num_steps=3, **options) == 2
    assert [report.step for report in reports] == [1, 2]


def test_notes_of_the_data_stand_in_the_journal():
    steps = [Step(step.micro_batches, step.denominators, {"rows_corrupt": 2.0}) for step in make_steps(1)]
    engine, reports = PlainEngine(1), []
    train(engine, steps, NextTokenObjective(), num_steps=3, reports=[reports.append])
    assert reports[-1].record()["rows_corrupt"] == 2.0


@pytest.mark.parametrize(
    "fault",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
    ],
)
def test_running_out_of_memory_names_the_batch_and_the_way_out(monkeypatch, fault):
    engine = PlainEngine(1)

    def fail(loss):
        raise fault

    monkeypatch.setattr(engine, "backward", fail)
    with pytest.raises(MemoryLimitError, match=r"Step 1 ran out of memory in a micro-batch of 4 × 6 tokens") as caught:
        train(engine, make_steps(1), NextTokenObjective(), num_steps=3)
    assert "micro_batch_size" in str(caught.value) and (caught.value.rows, caught.value.width) == (4, 6)


def test_other_faults_pass_through(monkeypatch):
    engine = PlainEngine(1)

    def fail(loss):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(engine, "backward", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(engine, make_steps(1), NextTokenObjective(), num_steps=3)

"""OViP's two buffers, step by step: ranks take prompts from one counter and train pairs first in, first out."""

import pytest

from vlmzoo.scoring.selections.ovip_code import OvipCodeSelection
from vlmzoo.scoring.selections.queues import FifoQueue, ranked_advantages

GOLDEN = ("ovip", "buffer_traces.jsonl")
GRPO_EVERY, GRPO_TAKEN = 3, 6


class Prompts:
    """The authors' counter, which all ranks share and which begins anew at the end; who meets it never forgets."""

    def __init__(self, dataset):
        self.dataset, self.next, self.have_wrapped = dataset, 0, set()

    def take(self, rank=0):
        place = self.next
        if place >= len(self.dataset):
            self.have_wrapped.add(rank)
            place -= len(self.dataset)
        self.next = place + 1
        return place, [None if score == "none" else score for score in self.dataset[place]]


def named(prompt, pair):
    return {
        "prompt": prompt,
        "chosen": "GT" if pair.chosen is None else f"r{pair.chosen}",
        "rejected": f"r{pair.rejected}",
    }


@pytest.mark.golden_cases("preference_buffer")
def test_preference_buffer(golden):
    content = golden.content
    select = OvipCodeSelection(
        online_only=content["online_only"], extremes=content["online_only_strategy"] == "addtional"
    )
    prompts, queues = Prompts(content["dataset_scores"]), [FifoQueue() for _ in range(content["ranks"])]
    for event in content["events"]:
        sampled, queue = [], queues[event["rank"]]
        assert len(queue) == event["buffer_before"]

        def make(sampled=sampled, rank=event["rank"]):
            place, scores = prompts.take(rank)
            sampled.append(place)
            return [named(place, pair) for pair in select(scores)]

        queue.fill(content["exp_per_batch"], make)
        trained = queue.take(content["exp_per_batch"])
        assert (sampled, trained, len(queue)) == (event["prompts_sampled"], event["trained"], event["buffer_after"])
        assert prompts.next == event["global_index_after"]
        assert (event["rank"] in prompts.have_wrapped) == event["epoch_stop_flag"]
        wanted = len(trained) if content["strategy"] not in ("dpo", "sft") else 0
        assert event["images_generated"] == event["descriptions_requested"] == wanted


@pytest.mark.golden_cases("grpo_buffer")
def test_grpo_buffer(golden):
    content = golden.content
    prompts, queue = Prompts(content["dataset_scores"]), FifoQueue()
    for event in content["events"]:
        sampled = []
        if event["step"] % GRPO_EVERY == 0:
            place, scores = prompts.take()
            sampled.append(place)
            valid = [(score, f"r{number}") for number, score in enumerate(scores) if score is not None]
            valid.append((content["ground_truth_score_appended"], "GT"))
            ranked = ranked_advantages([score for score, _ in valid])
            queue.put([(valid[number][1], advantage) for number, advantage in ranked])
        taken = queue.take(GRPO_TAKEN)
        assert sampled == event["prompts_sampled"]
        assert [name for name, _ in taken] == event["responses"]
        assert [advantage for _, advantage in taken] == pytest.approx(event["advantages"], abs=1e-9)
        assert len(queue) == event["buffer_after"]
        assert float(bool(taken)) == event["loss_multiplier"]

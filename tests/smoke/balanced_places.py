"""The rows of balanced batches as one of several ranks takes them, stopped in mid-epoch and gone on with."""

import json
from pathlib import Path
from types import SimpleNamespace

import torch.distributed as dist

from vlmzoo.data.collation import LengthPolicy
from vlmzoo.experience._prompts import PromptStream, balanced_order
from vlmzoo.types import Sample, user

BATCH = 6


class Labelled:
    """Twenty rows, of which seven are yes; every fifth is too long."""

    size = 20
    labels = ("yes", "no", "no") * 6 + ("yes", "no")

    def sample(self, position):
        return Sample(
            messages=[user("?" * (9 if position % 5 == 4 else 1))], id=str(position), reference=self.labels[position]
        )


def stream():
    source = Labelled()
    processor = SimpleNamespace(
        encode_prompt=lambda sample: {"input_ids": list(sample.messages[0]["content"][0]["text"])}
    )
    order = balanced_order(source, {}, batch_size=BATCH, seed=3)
    lengths = LengthPolicy(max_tokens=5, action="skip")
    return PromptStream(source, processor, lengths=lengths, corrupt_limit=0.1, seed=0, order=order)


def batches(num_batches, state=None):
    """Return the rows of some batches, and where the stream stands after them, as it is saved."""
    prompts = stream()
    if state is not None:
        prompts.load_state_dict(json.loads(state))
    found = [[int(prompts.prompt(place).sample.id) for place in prompts.take(BATCH)] for _ in range(num_batches)]
    return found, json.dumps(prompts.state_dict())


def stopped_and_resumed(rank, world_size, meeting, out):
    """Take three batches and, as a new stream, four more; rank 0 writes them."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world_size)
    head, state = batches(3)
    tail, _ = batches(4, state)
    if rank == 0:
        Path(out).write_text(json.dumps(head + tail))
    dist.destroy_process_group()

"""The rows of balanced batches as the ranks that run this take them; writes them, and where it stood, as JSON.

``python -m tests.smoke.balanced_places OUT NUM_BATCHES [STATE]`` under torchrun; a state is what an earlier part left.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch.distributed as dist

from vlmzoo.data.collation import LengthPolicy
from vlmzoo.distributed import is_main
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


def main(out, num_batches, state=None):
    dist.init_process_group("gloo")
    prompts = stream()
    if state is not None:
        prompts.load_state_dict(json.loads(Path(state).read_text())["state"])
    batches = [[int(prompts.prompt(place).sample.id) for place in prompts.take(BATCH)] for _ in range(int(num_batches))]
    if is_main():
        Path(out).write_text(json.dumps({"batches": batches, "state": prompts.state_dict()}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])

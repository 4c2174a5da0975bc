"""The loss of TRL's own DPOTrainer, unmodified, on one batch of pairs, and ours on the same; prints both as JSON."""

import json
import sys

import torch
from datasets import Dataset
from PIL import Image
from trl import DPOConfig, DPOTrainer

import vlmzoo.auto  # noqa: F401
from vlmzoo import load_model
from vlmzoo.data.preference_pairs import PairEncoder
from vlmzoo.experience.pairs import make_pair_collator
from vlmzoo.objectives.preference import PreferenceObjective
from vlmzoo.outputs import Batch
from vlmzoo.types import Sample, assistant, user

BETA = 0.3
COLOURS = ("red", "blue", "green", "gold")
LOSSES = ("sigmoid", "ipo", "hinge")


def make_pairs():
    return [
        {
            "images": [Image.new("RGB", (56, 56), colour)],
            "prompt": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What colour is it?"}]}
            ],
            "chosen": [{"role": "assistant", "content": [{"type": "text", "text": f"It is {colour}."}]}],
            "rejected": [{"role": "assistant", "content": [{"type": "text", "text": f"Not {other}, I would say."}]}],
        }
        for colour, other in zip(COLOURS, COLOURS[1:] + COLOURS[:1], strict=True)
    ]


def theirs(policy, reference, processor, loss, output_dir):
    """Return TRL's loss on all pairs in one batch."""
    config = DPOConfig(
        output_dir=output_dir,
        loss_type=[loss],
        beta=BETA,
        per_device_train_batch_size=len(COLOURS),
        max_length=None,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
    )
    trainer = DPOTrainer(
        model=policy,
        ref_model=reference,
        args=config,
        train_dataset=Dataset.from_list(make_pairs()),
        processing_class=processor,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    policy.eval()
    with torch.no_grad():
        return float(trainer.compute_loss(trainer.model, batch))


@torch.no_grad()
def ours(policy, reference, processor, loss):
    """Return our loss on the same pairs."""
    encoder = PairEncoder(processor, strategy="dpo")
    samples = [
        Sample(
            messages=[user("What colour is it?", num_images=1), assistant(pair["chosen"][0]["content"][0]["text"])],
            images=pair["images"],
            rejected=pair["rejected"][0]["content"][0]["text"],
        )
        for pair in make_pairs()
    ]
    batch = make_pair_collator(processor, strategy="dpo", mode="single")([encoder.encode(one) for one in samples])
    known = reference.eval()(**batch.inputs, return_logits=False).logprobs.sum(dim=1)
    batch = Batch(batch.inputs, {**batch.targets, "reference_logprobs": known}, batch.counts)
    outputs = policy.eval()(**batch.inputs, return_logits=False)
    return float(PreferenceObjective(loss=loss, dpo_beta=BETA)(outputs, batch, batch.count()).loss)


def main(policy_folder, reference_folder, output_dir):
    policy, processor = load_model(policy_folder)
    reference, _ = load_model(reference_folder)
    told = {
        loss: [ours(policy, reference, processor, loss), theirs(policy, reference, processor, loss, output_dir)]
        for loss in LOSSES
    }
    sys.stdout.write("\n" + json.dumps({"losses": told, "trainer": f"{DPOTrainer.__module__}.{DPOTrainer.__name__}"}))


if __name__ == "__main__":
    main(*sys.argv[1:])

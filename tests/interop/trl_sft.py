"""Three steps of TRL's own SFTTrainer, unmodified, on a folder of ours; prints the losses as JSON."""

import json
import sys

from datasets import Dataset
from PIL import Image
from trl import SFTConfig, SFTTrainer

import vlmzoo.auto  # noqa: F401
from vlmzoo import load_model


def main(folder, output_dir):
    model, processor = load_model(folder)
    rows = [
        {
            "images": [Image.new("RGB", (56, 56), colour)],
            "messages": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What colour is it?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": f"It is {colour}."}]},
            ],
        }
        for colour in ("red", "blue", "green", "gold") * 2
    ]
    dataset = Dataset.from_list(rows)
    config = SFTConfig(
        output_dir=output_dir,
        max_steps=3,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        logging_steps=1,
        report_to=[],
        max_length=None,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
    )
    trainer = SFTTrainer(model=model, args=config, train_dataset=dataset, processing_class=processor)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    trainer.save_model(f"{output_dir}/saved")
    sys.stdout.write(json.dumps({"losses": losses, "trainer": f"{type(trainer).__module__}.{type(trainer).__name__}"}))


if __name__ == "__main__":
    main(*sys.argv[1:])

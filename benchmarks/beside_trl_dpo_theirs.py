"""TRL's arm of ``beside_trl_dpo.py``: its own DPOTrainer, unmodified, on transformers' own model."""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from beside_trl_settings import LEARNING_RATE, PAIRS_PER_STEP
from datasets import Dataset, Image, List
from measuring import Turns
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback
from trl import DPOConfig, DPOTrainer

from vlmzoo.runs.memory import peak_rss_mb, rss_mb


class TakeTurns(TrainerCallback):
    """Waits for its turn after every step.

    Args:
        turns: the line to the other side.
    """

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.started = 0.0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell of the step."""
        self.turns.take(seconds=time.perf_counter() - self.started)
        control.should_training_stop = self.turns.is_over
        self.started = time.perf_counter()


def main(folder: Path) -> None:
    """Train until told to stop."""
    turns = Turns()
    torch.set_num_threads(1)
    lines = (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [{name: value for name, value in json.loads(line).items() if name != "id"} for line in lines]
    for pair in pairs:
        pair["images"] = [str(folder / image) for image in pair["images"]]
    dataset = Dataset.from_list(pairs).cast_column("images", List(Image()))
    arguments = DPOConfig(
        output_dir=str(folder / "trl"),
        max_steps=10**6,
        per_device_train_batch_size=PAIRS_PER_STEP,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        optim="adamw_torch",
        max_length=None,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        logging_steps=1000,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    load = AutoModelForImageTextToText.from_pretrained
    trainer = DPOTrainer(
        model=load(folder / "model", dtype=torch.float32),
        ref_model=load(folder / "model", dtype=torch.float32),
        args=arguments,
        train_dataset=dataset,
        processing_class=AutoProcessor.from_pretrained(folder / "model"),
        callbacks=[TakeTurns(turns)],
    )
    before = rss_mb()
    trainer.train()
    turns.tell(peak_rss_mb=peak_rss_mb(), before_mb=before, version=version("trl"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

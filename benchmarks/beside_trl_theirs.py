"""TRL's arm of ``beside_trl.py``: its own SFTTrainer, unmodified, on transformers' own model."""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from beside_trl_settings import LEARNING_RATE, ROWS_PER_STEP
from datasets import Dataset, Image, List
from measuring import Turns
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback
from trl import SFTConfig, SFTTrainer

from vlmzoo.data.sources.llava_json import LlavaJsonSource
from vlmzoo.runs.memory import peak_rss_mb, rss_mb


class TakeTurns(TrainerCallback):
    """Waits for its turn after every step.

    Args:
        turns: the line to the other side.
    """

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.trainer: Any = None
        self.tokens = 0
        self.loss = 0.0
        self.started = 0.0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Keep the loss of the step before: it is logged after the step has ended."""
        self.loss = (logs or {}).get("loss", self.loss)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell of the step."""
        seconds = time.perf_counter() - self.started
        tokens = self.trainer._total_train_tokens
        self.turns.take(seconds=seconds, tokens=tokens - self.tokens, loss_before=self.loss)
        self.tokens = tokens
        control.should_training_stop = self.turns.is_over
        self.started = time.perf_counter()


def main(folder: Path) -> None:
    """Train until told to stop."""
    turns = Turns()
    torch.set_num_threads(1)
    source = LlavaJsonSource(path=str(folder / "rows.json"))
    samples = [source.sample(place) for place in json.loads((folder / "order.json").read_text())]
    dataset = Dataset.from_list(
        [{"messages": list(sample.messages), "images": [str(path) for path in sample.images]} for sample in samples]
    ).cast_column("images", List(Image()))
    arguments = SFTConfig(
        output_dir=str(folder / "trl"),
        max_steps=10**6,
        per_device_train_batch_size=ROWS_PER_STEP,
        train_sampling_strategy="sequential",  # the same rows in the same order
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        optim="adamw_torch",
        assistant_only_loss=True,
        max_length=None,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    callback = TakeTurns(turns)
    callback.trainer = SFTTrainer(
        model=AutoModelForImageTextToText.from_pretrained(folder / "model", dtype=torch.float32),
        args=arguments,
        train_dataset=dataset,
        processing_class=AutoProcessor.from_pretrained(folder / "model"),
        callbacks=[callback],
    )
    before = rss_mb()
    callback.trainer.train()
    turns.tell(peak_rss_mb=peak_rss_mb(), before_mb=before, version=version("trl"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

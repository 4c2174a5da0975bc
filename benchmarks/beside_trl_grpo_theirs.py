"""TRL's arm of ``beside_trl_grpo.py``: its own GRPOTrainer, unmodified, on transformers' own model."""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from beside_trl_grpo_settings import (
    LEARNING_RATE,
    MAX_NEW_TOKENS,
    MICRO_BATCH,
    NUM_PROMPTS,
    NUM_ROLLOUTS,
    variety,
)
from datasets import Dataset, Image
from measuring import Turns
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from vlmzoo.runs.memory import peak_rss_mb, rss_mb


class TakeTurns(TrainerCallback):
    """Waits for its turn after every step.

    Args:
        turns: the line to the other side.
    """

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.trainer: Any = None
        self.started = self.worked = 0.0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.started, self.worked = time.perf_counter(), time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell of the step."""
        spent = {"seconds": time.perf_counter() - self.started, "cpu_seconds": time.process_time() - self.worked}
        lengths = self.trainer._metrics["train"]["completions/mean_length"]
        self.turns.take(**spent, completion_tokens=lengths[-1] if lengths else float("nan"))
        control.should_training_stop = self.turns.is_over
        self.started, self.worked = time.perf_counter(), time.process_time()


def rewards(completions: list[Any], **columns: Any) -> list[float]:
    """Reward completions as the other side does."""
    return [variety(completion[0]["content"]) for completion in completions]


def main(folder: Path) -> None:
    """Train until told to stop."""
    turns = Turns()
    torch.set_num_threads(1)
    lines = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    dataset = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": line["problem"]}],
                "image": str(folder / line["image_path"]),
            }
            for line in lines
        ]
    ).cast_column("image", Image())
    arguments = GRPOConfig(
        output_dir=str(folder / "trl"),
        max_steps=10**6,
        per_device_train_batch_size=MICRO_BATCH,
        gradient_accumulation_steps=NUM_PROMPTS * NUM_ROLLOUTS // MICRO_BATCH,
        num_generations=NUM_ROLLOUTS,
        max_completion_length=MAX_NEW_TOKENS,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        beta=0.0,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        optim="adamw_torch",
        shuffle_dataset=False,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_steps=10**6,
        disable_tqdm=True,
    )
    callback = TakeTurns(turns)
    callback.trainer = GRPOTrainer(
        model=AutoModelForImageTextToText.from_pretrained(folder / "model", dtype=torch.float32),
        reward_funcs=rewards,
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

"""GRPO beside TRL's GRPOTrainer: seconds a step and memory, in turn.

``python benchmarks/beside_trl_grpo.py``: the same Qwen2.5-VL in miniature, 8 prompts with a picture of 448 pixels, 8
completions of 64 tokens each, one update, no reference, AdamW, float32, one thread. Two processes take a step each in
turn. TRL and what it brings live in ``.venv-interop``; both run there.
"""

import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from beside_trl import PYTHON
from beside_trl_grpo_settings import MAX_NEW_TOKENS, NUM_PROMPTS, NUM_ROLLOUTS
from measuring import Arm
from PIL import Image
from recording import record

from vlmzoo import build_model
from vlmzoo.checkpoint import save_model
from vlmzoo.errors import VlmzooError
from vlmzoo.zoo import load_card

HERE = Path(__file__).parent
NUM_ROUNDS, NUM_WARM_UP = 10, 1
IMAGE_SIDE = 448  # pixels: 256 visual tokens
TARGET = 1.2


def make_model(folder: Path) -> None:
    """Write the miniature, with a vocabulary so large that completions seldom end early, as a transformers folder."""
    architecture = load_card("qwen2.5-vl-3b").miniature()
    architecture["config"]["text_config"] |= {"vocab_size": 4096, "max_position_embeddings": 4096}
    architecture["processor"]["pixels"]["max"] = IMAGE_SIDE**2
    torch.manual_seed(0)
    model = build_model(architecture, dtype="float32")
    save_model(model, model.processor, folder)


def make_rows(folder: Path, num: int) -> None:
    """Write prompts with a picture each, in Visual-RFT's columns."""
    lines = []
    for number in range(num):
        pixels = np.random.default_rng(number).integers(0, 256, (IMAGE_SIDE, IMAGE_SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        problem = "What is in this picture? Think about it, then answer."
        lines.append({"image_path": f"{number}.png", "problem": problem, "solution": "<answer>noise</answer>"})
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


def compare(arms: Sequence[Arm]) -> dict[str, Any]:
    """Let the arms take turns, and return what they told, in medians over the rounds."""
    rounds = [{arm.name: arm.step() for arm in arms} for _ in range(NUM_WARM_UP + NUM_ROUNDS)][NUM_WARM_UP:]
    last = {arm.name: arm.finish() for arm in arms}
    ratios, cpu_ratios = (
        [told["trl"][clock] / told["ours"][clock] for told in rounds] for clock in ("seconds", "cpu_seconds")
    )
    return {
        "trl": last["trl"]["version"],
        "step_seconds": {
            arm.name: round(statistics.median(told[arm.name]["seconds"] for told in rounds), 3) for arm in arms
        },
        "step_cpu_seconds": {
            arm.name: round(statistics.median(told[arm.name]["cpu_seconds"] for told in rounds), 3) for arm in arms
        },
        "completion_tokens": {
            arm.name: round(statistics.median(told[arm.name]["completion_tokens"] for told in rounds), 1)
            for arm in arms
        },
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "cpu_ratio": round(statistics.median(cpu_ratios), 3),
        "cpu_ratio_range": [round(min(cpu_ratios), 3), round(max(cpu_ratios), 3)],
        "peak_rss_mb": {name: round(told["peak_rss_mb"]) for name, told in last.items()},
        "grew_mb": {name: round(told["peak_rss_mb"] - told["before_mb"]) for name, told in last.items()},
    }


def main() -> None:
    """Write model and prompts, start the arms, measure and record."""
    if not PYTHON.exists():
        raise VlmzooError("TRL is not installed beside the library; `make .venv-interop/.installed` brings it.")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "model")
        make_rows(folder, NUM_PROMPTS * (NUM_ROUNDS + NUM_WARM_UP + 3))
        arms: list[Arm] = []
        try:
            for arm in ("ours", "trl"):
                script = HERE / f"beside_trl_grpo_{'theirs' if arm == 'trl' else 'ours'}.py"
                arms.append(Arm(arm, [str(PYTHON), str(script), str(folder)], log=folder / f"{arm}.log"))
            found = compare(arms)
        finally:
            for started in arms:
                started.kill()
    record(
        "beside_trl_grpo",
        rounds=NUM_ROUNDS,
        prompts=NUM_PROMPTS,
        rollouts=NUM_ROLLOUTS,
        max_new_tokens=MAX_NEW_TOKENS,
        **found,
    )


def rows(entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what, target, measured."""
    (low, high), (cpu_low, cpu_high) = entry["ratio_range"], entry["cpu_ratio_range"]
    seconds, grew = entry["step_seconds"], entry["grew_mb"]
    size = (
        f"{entry['prompts']} prompts with 448 px, {entry['rollouts']} completions of {entry['max_new_tokens']} tokens"
    )
    return [
        (
            f"a GRPO step beside TRL's GRPOTrainer, {size}; median of {entry['rounds']} pairs",
            f"at least {TARGET} times as fast",
            f"{entry['ratio']:.2f} ({low:.2f} to {high:.2f}); {seconds['ours']:.2f} and {seconds['trl']:.2f} s"
            f"; of processor time {entry['cpu_ratio']:.2f} ({cpu_low:.2f} to {cpu_high:.2f})"
            + ("" if entry["ratio"] >= TARGET else ", **missed**"),
        ),
        (
            "memory that GRPO adds, peak: ours, TRL",
            "at most TRL's",
            f"{grew['ours']:,} MB, {grew['trl']:,} MB "
            f"(in all {', '.join(format(entry['peak_rss_mb'][name], ',') for name in ('ours', 'trl'))})"
            + ("" if grew["ours"] <= grew["trl"] else ", **missed**"),
        ),
    ]


if __name__ == "__main__":
    main()

"""A step of DPO beside TRL's DPOTrainer: seconds and memory, in turn.

``python benchmarks/beside_trl_dpo.py``: one tiny LLaVA (transformers' own class; encoder and language model of four
layers and width 256, 32,000 tokens, 576 visual tokens an image), the same pairs, a frozen copy as the reference, AdamW,
float32, one thread. Two processes take a step each in turn. TRL lives in ``.venv-interop``; both run there.
"""

import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from beside_trl_settings import PAIRS_PER_STEP
from measuring import Arm
from PIL import Image
from recording import record

from vlmzoo import build_model
from vlmzoo.checkpoint import save_model
from vlmzoo.data.preference_files import write_pairs
from vlmzoo.types import Sample, assistant, user
from vlmzoo.zoo import load_card

HERE = Path(__file__).parent
PYTHON = HERE.parent / ".venv-interop" / "bin" / "python"
NUM_ROUNDS, NUM_WARM_UP = 10, 2
IMAGE_SIDE = 336
TARGET = 1.2


def make_model(folder: Path) -> None:
    """Write the miniature, enlarged until a step takes about a second, as a plain transformers folder."""
    architecture = load_card("llava-1.5-7b-hf").miniature()
    config = architecture["config"]
    config["text_config"] |= {
        "vocab_size": 32064,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "max_position_embeddings": 4096,
    }
    config["vision_config"] |= {
        "image_size": IMAGE_SIDE,
        "patch_size": 14,
        "num_hidden_layers": 4,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_attention_heads": 8,
        "projection_dim": 256,
    }
    architecture["processor"]["image"] = {**architecture["processor"].get("image", {}), "size": IMAGE_SIDE}
    torch.manual_seed(0)
    model = build_model(architecture, dtype="float32")
    save_model(model, model.processor, folder)


def make_pairs(folder: Path, num: int) -> None:
    """Write pairs of one length, each about a picture of its own."""
    draw = random.Random(0)
    words = ("red", "boat", "over", "green", "hill", "small", "bird", "near", "old", "house")

    def said() -> str:
        return " ".join(draw.choices(words, k=24))

    samples = []
    for number in range(num):
        shade = tuple(draw.randrange(256) for _ in range(3))
        messages = [user("What is in the picture?", num_images=1), assistant(f"It is {said()}.")]
        picture = Image.new("RGB", (IMAGE_SIDE, IMAGE_SIDE), shade)
        samples.append(Sample(messages=messages, images=[picture], id=str(number), rejected=f"No, {said()}."))
    write_pairs(samples, folder / "pairs.jsonl")


def main() -> None:
    """Let the arms take turns, and record the medians."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "model")
        make_pairs(folder, (NUM_WARM_UP + NUM_ROUNDS + 4) * PAIRS_PER_STEP)
        arms = [
            Arm(side, [str(PYTHON), str(HERE / f"beside_trl_dpo_{side}.py"), name], log=folder / f"{side}.log")
            for side in ("ours", "theirs")
        ]
        try:
            rounds = [{arm.name: arm.step() for arm in arms} for _ in range(NUM_WARM_UP + NUM_ROUNDS)][NUM_WARM_UP:]
            last = {arm.name: arm.finish() for arm in arms}
        finally:
            for arm in arms:
                arm.kill()
    seconds = {side: [told[side]["seconds"] for told in rounds] for side in ("ours", "theirs")}
    memory = {side: last[side]["peak_rss_mb"] - last[side]["before_mb"] for side in last}
    record(
        "beside_trl_dpo",
        pairs=NUM_ROUNDS,
        seconds={side: round(statistics.median(values), 3) for side, values in seconds.items()},
        speed_ratio=round(statistics.median(b / a for a, b in zip(*seconds.values(), strict=True)), 3),
        memory_mb={side: round(value) for side, value in memory.items()},
        trl=last["theirs"]["version"],
    )


def rows(entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what, target, measured."""
    ratio, memory = entry["speed_ratio"], entry["memory_mb"]
    what = f"DPO on a tiny LLaVA beside TRL {entry['trl']}'s DPOTrainer, {PAIRS_PER_STEP} pairs a step; median of"
    step = f"{entry['seconds']['theirs']:.2f} s and {entry['seconds']['ours']:.2f} s"
    return [
        (
            f"{what} {entry['pairs']} rounds, {step}",
            f"at least {TARGET} ×",
            f"{ratio:.2f} ×" + ("" if ratio >= TARGET else ", **missed**"),
        ),
        (
            "its memory beyond what stood before training",
            "at most TRL's",
            f"{memory['ours']} and {memory['theirs']} MB"
            + ("" if memory["ours"] <= memory["theirs"] else ", **missed**"),
        ),
    ]


if __name__ == "__main__":
    main()

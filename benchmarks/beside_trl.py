"""Training beside TRL's SFTTrainer: real tokens a second and memory, packed and padded, in turn.

``python benchmarks/beside_trl.py``: the same Qwen2.5-VL in miniature, the same rows, AdamW, float32, one thread. Three
processes take a step each in turn: this library with packing, this library padding as TRL does, and TRL, which does
not pack where a data set holds images. TRL and what it brings live in ``.venv-interop``; all three run there.
"""

import json
import random
import statistics
import tempfile
from collections.abc import Container, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from beside_trl_settings import CAPACITY, ROWS_PER_STEP
from measuring import Arm
from PIL import Image
from recording import record

from vlmzoo import build_model
from vlmzoo.checkpoint import save_model
from vlmzoo.data.fetching import Row, RowFetcher
from vlmzoo.data.sources.llava_json import LlavaJsonSource
from vlmzoo.errors import VlmzooError
from vlmzoo.zoo import load_card

HERE = Path(__file__).parent
PYTHON = HERE.parent / ".venv-interop" / "bin" / "python"
NUM_ROUNDS, NUM_WARM_UP = 12, 2
IMAGE_SIDE = 448  # pixels: 256 visual tokens
WORDS = (
    *("red", "boat", "over", "green", "hill", "small", "bird", "near", "old", "house"),
    *("on", "quiet", "river", "with", "three", "tall", "trees", "and", "one", "lamp"),
)


def make_model(folder: Path) -> Any:
    """Write the miniature, enlarged until a step takes about a second, as a plain transformers folder."""
    architecture = load_card("qwen2.5-vl-3b").miniature()
    config = architecture["config"]
    config["text_config"] |= {
        "vocab_size": 8192,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rope_parameters": {**config["text_config"]["rope_parameters"], "mrope_section": [8, 12, 12]},
    }
    config["vision_config"] |= {
        "depth": 4,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_heads": 4,
        "out_hidden_size": 256,
        "window_size": 112,
        "fullatt_block_indexes": [3],
    }
    architecture["processor"]["pixels"]["max"] = IMAGE_SIDE**2
    torch.manual_seed(0)
    model = build_model(architecture, dtype="float32")
    save_model(model, model.processor, folder)
    return model.processor


def make_rows(folder: Path, num: int, pictures: Container[int] = ()) -> Path:
    """Write conversations in LLaVA's layout: lengths as skewed as people's, and pictures where they are wanted."""
    draw = random.Random(0)
    records = []
    for number in range(num):
        has_image = number in pictures
        num_words = 12 if has_image else min(100, max(4, round(draw.lognormvariate(2.7, 0.8))))
        said = [" ".join(draw.choices(WORDS, k=num_words)) for _ in range(2)]
        turns = [{"from": "human", "value": said[0]}, {"from": "gpt", "value": said[1]}]
        entry: dict[str, Any] = {"id": str(number), "conversations": turns}
        if has_image:
            pixels = np.random.default_rng(number).integers(0, 256, (IMAGE_SIDE, IMAGE_SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            turns[0]["value"] = f"<image>\n{said[0]}"
            entry["image"] = f"{number}.png"
        records.append(entry)
    path = folder / "rows.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def make_data(folder: Path, processor: Any, num: int) -> list[int]:
    """Write the rows, one of each padded batch with a picture, and the order in which this library takes them.

    Returns:
        The tokens of the rows, in that order.
    """

    def taken(path: Path) -> list[Row]:
        return list(islice(RowFetcher(LlavaJsonSource(path=str(path)), processor, seed=0).rows_from(0), num))

    order = [int(row.name) for row in taken(make_rows(folder, num))]
    (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
    rows_file = make_rows(folder, num, pictures=set(order[::ROWS_PER_STEP]))
    return [len(row.encoded["input_ids"]) for row in taken(rows_file) if row.encoded is not None]


def padded_share(lengths: Sequence[int]) -> float:
    """Return the share of real tokens where batches of consecutive rows are padded to their longest."""
    batches = [lengths[start : start + ROWS_PER_STEP] for start in range(0, len(lengths), ROWS_PER_STEP)]
    return sum(lengths) / sum(len(batch) * max(batch) for batch in batches)


def compare(arms: Sequence[Arm]) -> dict[str, Any]:
    """Let the arms take turns, and return what they told, in medians over the rounds."""
    rounds = [{arm.name: arm.step() for arm in arms} for _ in range(NUM_WARM_UP + NUM_ROUNDS)][NUM_WARM_UP:]
    last = {arm.name: arm.finish() for arm in arms}
    if any(told["padded"]["tokens"] != told["trl"]["tokens"] for told in rounds):
        raise VlmzooError("The padded arm and TRL must train on the same rows, but their steps differ in tokens.")
    rates = {arm.name: [told[arm.name]["tokens"] / told[arm.name]["seconds"] for told in rounds] for arm in arms}
    pairs = {name: [a / b for a, b in zip(rates[name], rates["trl"], strict=True)] for name in ("packed", "padded")}
    return {
        "trl": last["trl"]["version"],
        "tokens_per_s": {name: round(statistics.median(values), 1) for name, values in rates.items()},
        "step_seconds": {
            arm.name: round(statistics.median(told[arm.name]["seconds"] for told in rounds), 3) for arm in arms
        },
        "ratio": {name: round(statistics.median(values), 3) for name, values in pairs.items()},
        "ratio_range": {name: [round(min(values), 3), round(max(values), 3)] for name, values in pairs.items()},
        "peak_rss_mb": {name: round(told["peak_rss_mb"]) for name, told in last.items()},
        "grew_mb": {name: round(told["peak_rss_mb"] - told["before_mb"]) for name, told in last.items()},
        "loss_difference": max(
            abs(ours["padded"]["loss"] - theirs["trl"]["loss_before"]) for ours, theirs in pairwise(rounds)
        ),
    }


def main() -> None:
    """Write model and rows, start the arms, measure and record."""
    if not PYTHON.exists():
        raise VlmzooError("TRL is not installed beside the library; `make .venv-interop/.installed` brings it.")
    torch.set_num_threads(1)
    num_rows = ROWS_PER_STEP * (NUM_ROUNDS + NUM_WARM_UP + 4)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processor = make_model(folder / "model")
        lengths = make_data(folder, processor, num_rows)
        arms: list[Arm] = []
        try:
            for arm in ("packed", "padded", "trl"):
                script = HERE / f"beside_trl_{'theirs' if arm == 'trl' else 'ours'}.py"
                command = [str(PYTHON), str(script), str(folder), arm]
                arms.append(Arm(arm, command, log=folder / f"{arm}.log"))
            found = compare(arms)
        finally:
            for started in arms:
                started.kill()
    record(
        "beside_trl",
        rounds=NUM_ROUNDS,
        rows_per_step=ROWS_PER_STEP,
        capacity=CAPACITY,
        median_length=statistics.median(lengths),
        longest=max(lengths),
        real_share={"packed": 1.0, "padded": round(padded_share(lengths), 3), "trl": round(padded_share(lengths), 3)},
        **found,
    )


def rows(entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what, target, measured."""
    rates, grew = entry["tokens_per_s"], entry["grew_mb"]
    lengths = (
        f"rows of {entry['median_length']:.0f} tokens in the median, {entry['longest']} at most, 1 in 8 with 448 px"
    )
    lines = []
    for name, label in (("packed", f"packed to {entry['capacity']}"), ("padded", "padded as TRL does")):
        low, high = entry["ratio_range"][name]
        lines.append(
            (
                f"real tokens a second beside TRL's SFTTrainer, {label}; {lengths}; median of {entry['rounds']} rounds",
                "at least 1.3",
                f"{entry['ratio'][name]:.2f} ({low:.2f} to {high:.2f}); {rates[name]:,.0f} and {rates['trl']:,.0f}"
                + ("" if entry["ratio"][name] >= 1.3 else ", **missed**"),
            )
        )
    share = entry["real_share"]
    lines.append(
        (
            "share of positions that are real tokens: packed, padded",
            "none",
            f"{share['packed']:.2f}, {share['padded']:.2f}",
        )
    )
    lines.append(
        (
            "memory that training adds, peak: packed, padded, TRL",
            "at most TRL's",
            f"{grew['packed']:,} MB, {grew['padded']:,} MB, {grew['trl']:,} MB "
            f"(in all {', '.join(format(entry['peak_rss_mb'][name], ',') for name in ('packed', 'padded', 'trl'))})",
        )
    )
    return lines


if __name__ == "__main__":
    main()

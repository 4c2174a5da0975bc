"""Features on disk: an epoch of projector training from the cache beside one that runs the encoders.

``python benchmarks/feature_cache.py``: an Eagle of two small encoders and a smaller language model, 24 drawn pictures,
float32, one thread. Two models with the same weights take the same batches, epoch by epoch in turn; the first epoch of
the cached one fills its cache, and counts by itself.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from measuring import in_fresh_process
from PIL import Image
from recording import record

from vlmzoo.config.schema import OptimConfig
from vlmzoo.experience import EXPERIENCES
from vlmzoo.loop import train
from vlmzoo.models.assembler import assemble_model
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.outputs import VlmOutput
from vlmzoo.runs.efficiency import keep_features
from vlmzoo.runs.optim import parameter_groups

NUM_IMAGES, BATCH, NUM_PAIRS, TARGET = 24, 8, 10, 3.0
ARCHITECTURE: dict[str, Any] = {
    "family": "eagle",
    "encoders": [
        {
            "type": "clip_hr",
            "image_size": 224,
            "native_size": 224,
            "patch_size": 14,
            "hidden_size": 192,
            "intermediate_size": 768,
            "num_layers": 8,
            "num_heads": 4,
        },
        {"type": "convnext", "image_size": 256, "depths": [2, 2, 4, 2], "dims": [48, 96, 192, 384]},
    ],
    "fusion": {"type": "channel_concat", "grid_size": 8},
    "projector": {"type": "mlp2x_gelu"},
    "language_model": {
        "type": "causal_lm",
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    },
    "processor": {
        "image": {"aspect": "pad", "size": 256},
        "tokenizer": {"type": "llama3_bpe", "corpus": [], "vocab_size": 300},
        "chat_template": "llava_plain",
    },
}


class PlainEngine:
    """A model and AdamW, without DeepSpeed."""

    device = torch.device("cpu")

    def __init__(self, model: Any, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.optimizer = model, optimizer

    def __call__(self, **inputs: Any) -> VlmOutput:
        """Run the model."""
        return self.model(**inputs)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient."""
        loss.backward()

    def step(self) -> dict[str, float]:
        """Update the weights."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {}


class Arm:
    """One of the two models, with its optimiser and its place in the data.

    Args:
        rows: the data file.
        cache: folder of the features; None runs the encoders.
    """

    def __init__(self, rows: Path, cache: Path | None) -> None:
        torch.manual_seed(0)
        model = assemble_model(ARCHITECTURE, dtype="float32").train()
        groups = parameter_groups(model, OptimConfig(learning_rate=1e-3, frozen=["encoder", "language_model"]))
        keep_features(model, None if cache is None else str(cache))
        self.engine = PlainEngine(model, torch.optim.AdamW(groups))
        self.objective = OBJECTIVES.build({"type": "next_token"})
        spec = {"type": "supervised", "source": {"type": "llava_json", "path": str(rows)}}
        self.steps = iter(
            EXPERIENCES.build(spec, processor=model.processor, micro_batch_size=BATCH, accumulation_steps=1, seed=0)
        )
        self.losses: list[float] = []

    def epoch(self) -> float:
        """Take the steps of one epoch, and return the seconds."""
        started = time.perf_counter()
        train(
            self.engine,
            self.steps,
            self.objective,
            num_steps=NUM_IMAGES // BATCH,
            reports=[lambda report: self.losses.append(report.metrics["loss"])],
        )
        return time.perf_counter() - started


def draw(folder: Path) -> Path:
    """Write pictures and captions, and return the file of the rows."""
    rows = []
    for number in range(NUM_IMAGES):
        Image.effect_noise((256, 256), 10 + 5 * number).convert("RGB").save(folder / f"{number}.jpg")
        said = [{"from": "human", "value": "<image>\nDescribe it."}, {"from": "gpt", "value": f"grey noise, {number}"}]
        rows.append({"id": str(number), "image": f"{number}.jpg", "conversations": said})
    path = folder / "rows.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def measure() -> dict[str, Any]:
    """Run both arms in turn."""
    with tempfile.TemporaryDirectory() as place:
        rows = draw(Path(place))
        cached, plain = Arm(rows, Path(place) / "features"), Arm(rows, None)
        filling = [(cached.epoch(), plain.epoch())]
        pairs = [(cached.epoch(), plain.epoch()) for _ in range(NUM_PAIRS)]
        stored = sum(file.stat().st_size for file in Path(place).glob("features/**/*.safetensors"))
    differences = [abs(one - other) for one, other in zip(cached.losses, plain.losses, strict=True)]
    return {
        "first_epoch_s": [round(value, 3) for value in filling[0]],
        "cached_s": [round(one, 3) for one, _ in pairs],
        "plain_s": [round(other, 3) for _, other in pairs],
        "speed_up": round(statistics.median(other / one for one, other in pairs), 2),
        "loss_difference": max(differences),
        "kb_per_image": round(stored / NUM_IMAGES / 1000, 1),
    }


def main() -> None:
    """Measure in a fresh process and record it."""
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(measure()) + "\n")
        return
    record("feature_cache", images=NUM_IMAGES, batch=BATCH, **in_fresh_process(__file__, "measure"))


def rows(entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what, target, measured."""
    ratio, first = entry["speed_up"], entry["first_epoch_s"]
    what = f"projector training from cached features beside running two small encoders, {entry['images']} pictures"
    return [
        (
            f"{what}: an epoch after the first (median of {len(entry['cached_s'])} pairs)",
            f"at least {TARGET:.0f} x",
            f"{ratio:.1f} x" + ("" if ratio >= TARGET else ", **missed**"),
        ),
        (
            "the same, largest difference of a step's loss; first epoch, which fills the cache",
            "1e-5; none",
            f"{entry['loss_difference']:.1e}; {first[0]:.1f} s beside {first[1]:.1f} s",
        ),
    ]


if __name__ == "__main__":
    main()

"""V* search with children in one batch and one reading of each image, beside one question at a time.

``python benchmarks/searching.py``: a search model of a few million parameters, one thread, float32, that has learned by
heart what to say to the three questions of a search. Arms take turns; the medians of pairs are recorded, by processor
time, and boxes are compared.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from PIL import Image
from recording import record
from segmenting import ratios

from vlmzoo import build_model
from vlmzoo.agents.locating import ModelLocator, PlainLocator
from vlmzoo.agents.visual_search import SearchResult, VisualSearch
from vlmzoo.data.collation import Collator
from vlmzoo.data.prompts import load_prompts
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.types import Sample, assistant, user
from vlmzoo.zoo import load_card

SIDE, STEPS = 112, 120
SEARCH = {"smallest_size": 225, "confidence_high": 1.0}  # 21 patches, none certain enough to stop


def make_model() -> Any:
    """Build a search model in between, and teach it what to say."""
    torch.manual_seed(0)
    card = load_card("seal-vsm-7b")
    architecture = card.miniature()
    wide = {"image_size": SIDE, "hidden_size": 128, "intermediate_size": 512, "num_layers": 4, "num_heads": 4}
    architecture["encoder"] |= wide
    architecture["processor"]["image"] |= {"size": SIDE}
    architecture["language_model"] |= {
        "hidden_size": 128,
        "intermediate_size": 352,
        "num_hidden_layers": 4,
        "max_position_embeddings": 1024,
    }
    (adapter,) = card.tiny_adapters
    detector = {**adapter["detector"], "image_size": 192, "hidden_size": 96, "num_layers": 4, "num_heads": 4}
    model = build_model(architecture, adapters=[{**adapter, "detector": detector, "cache_size": 64}]).train()
    batch = Collator(pad_token_id=model.processor.padding_id, adapter_inputs=model.processor.adapter_inputs)(
        [model.processor.encode(sample) for sample in lessons()]
    )
    objective = OBJECTIVES.build({"type": "next_token"})
    optimiser = torch.optim.AdamW(
        [p for n, p in model.named_parameters() if p.requires_grad and "adapters." not in n], lr=2e-3
    )
    for _ in range(STEPS):
        loss = objective(model(**batch.inputs, return_logits=False), batch, batch.count()).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def lessons() -> list[Sample]:
    """What is asked in a search, and what is to be said."""
    prompts = load_prompts("seal")["search"]
    told = {
        prompts["locate"].replace("{name}", "cup"): prompts["located"],
        prompts["locate"].replace("{name}", "table"): prompts["located"],
        prompts["cue"].replace("{name}", "cup"): "The cup is most likely to appear on the table.",
    }
    return [
        Sample(
            messages=[user(question, num_images=1), assistant(said)],
            images=[Image.effect_noise((96, 96), 20 + number)],
            boxes=[None] if "[LOC]" in said else [],
        )
        for number, (question, said) in enumerate(told.items())
    ]


def search(model: Any, picture: Image.Image, *, way: str) -> SearchResult:
    """Search once: ``together``, ``one by one``, or ``as the authors``, who keep no keys, values or features."""
    features = model.adapters["search"].features
    features._kept.clear()
    features.capacity = 0 if way == "as the authors" else 64
    if way == "together":
        locator: PlainLocator = ModelLocator(model, picture, max_new_tokens=40)
    else:
        locator = PlainLocator(model, picture, max_new_tokens=40, use_cache=way == "one by one")
    return VisualSearch(**SEARCH, looks_ahead=way == "together").search(locator, locator.frame, "cup")  # type: ignore[arg-type]


def far_apart(results: Sequence[SearchResult]) -> float:
    """Return the largest difference between boxes of searches, in pixels; infinite where their visits differ."""
    first, most = results[0], 0.0
    for other in results[1:]:
        if [one.patch for one in other.visits] != [one.patch for one in first.visits]:
            return float("inf")
        for mine, theirs in zip(first.visits, other.visits, strict=True):
            if mine.box is None or theirs.box is None:
                return float("inf")
            most = max(most, *(abs(a - b) for a, b in zip(mine.box.xyxy, theirs.box.xyxy, strict=True)))
    return most


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    model, picture = make_model(), Image.effect_noise((1200, 900), 60).convert("RGB")
    found = [search(model, picture, way=way) for way in ("together", "one by one", "as the authors")]
    record(
        "searching",
        parameters=sum(p.numel() for p in model.parameters()),
        visits=len(found[0].visits),
        calls=dict(found[2].num_calls),
        said=found[0].visits[0].cue,
        boxes_differ_px=far_apart(found),
        authors=ratios(
            lambda: search(model, picture, way="as the authors"),
            lambda: search(model, picture, way="together"),
            clock=time.process_time,
        ),
        cached=ratios(
            lambda: search(model, picture, way="one by one"),
            lambda: search(model, picture, way="together"),
            clock=time.process_time,
        ),
    )


def rows(entry: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Return the lines of the table: what was measured, the target, the figure."""
    for name, what in (("authors", "keys, values and features not kept"), ("cached", "keys and values kept")):
        arm = entry[name]
        yield (
            f"V* search over {entry['visits']} patches, children in one batch and one reading of each image, beside "
            f"one question at a time, {what} ({entry['parameters'] / 1e6:.1f} M parameters)",
            "≥ 3 ×" if name == "authors" else "",
            f"{arm['ratio']:.1f} × ({arm['least']:.1f} to {arm['most']:.1f}; {arm['slow_s']:.2f} s, "
            f"{arm['fast_s']:.2f} s of processor time); boxes within {entry['boxes_differ_px']:.3f} pixels",
        )


if __name__ == "__main__":
    main()

"""Answers with masks: batched under a key-value cache beside the authors' way, and many masks in one call.

``python benchmarks/segmenting.py``: a LISA of a few million parameters, one thread, float32. What is said is prescribed
token by token, so that all arms do the same work; they take turns, and the medians of pairs are recorded.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from recording import record
from transformers import LogitsProcessor, LogitsProcessorList

from vlmzoo import build_model
from vlmzoo.data.prompting import prompt_inputs
from vlmzoo.types import Sample, user
from vlmzoo.zoo import load_card

NUM_IMAGES, NUM_PAIRS, NUM_WORDS, NUM_MASKS = 8, 11, 16, 16
SIDE = 112


class Prescribed(LogitsProcessor):
    """Lets a model say these ids, whatever it computes."""

    def __init__(self, ids: Sequence[int], start: int) -> None:
        self.ids, self.start = ids, start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Forbid all but the prescribed id."""
        forced = torch.full_like(scores, float("-inf"))
        forced[:, self.ids[input_ids.shape[1] - self.start]] = 0.0
        return forced


def make_model(*, cache_size: int) -> Any:
    """Build a LISA in between: wide enough that arithmetic, and not Python, takes the time."""
    torch.manual_seed(0)
    card = load_card("lisa-7b-v1")
    architecture = card.miniature()
    architecture["encoder"] |= {
        "image_size": SIDE,
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_layers": 4,
        "num_heads": 4,
    }
    architecture["processor"]["image"] |= {"size": SIDE}
    architecture["language_model"] |= {
        "hidden_size": 128,
        "intermediate_size": 352,
        "num_hidden_layers": 4,
        "max_position_embeddings": 1024,
    }
    (adapter,) = card.tiny_adapters
    decoder = {**adapter["decoder"], "image_size": 128, "dim": 64, "num_heads": 4, "window_size": 4}
    return build_model(architecture, adapters=[{**adapter, "decoder": decoder, "cache_size": cache_size}]).eval()


def answer(model: Any, samples: Sequence[Sample], said: Sequence[int], *, use_cache: bool = True) -> Any:
    """Generate the prescribed answer to all samples at once, with masks."""
    inputs = prompt_inputs(model.processor, samples, device="cpu", dtype=torch.float32)
    words = LogitsProcessorList([Prescribed(said, inputs["input_ids"].shape[1])])
    return model.generate(
        **inputs,
        logits_processor=words,
        max_new_tokens=len(said),
        do_sample=False,
        use_cache=use_cache,
        return_dict_in_generate=True,
    )


def ratios(
    slow: Callable[[], Any], fast: Callable[[], Any], *, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Let two arms take turns, and return medians: seconds of each, and of the ratio of a pair.

    Args:
        slow: the one.
        fast: the other.
        clock: ``time.process_time`` counts this process alone, for machines that others use, too.
    """
    seconds: list[tuple[float, float]] = []
    for arm in (slow, fast):
        arm()
    for _ in range(NUM_PAIRS):
        pair = []
        for arm in (slow, fast):
            started = clock()
            arm()
            pair.append(clock() - started)
        seconds.append((pair[0], pair[1]))
    return {
        "slow_s": statistics.median(pair[0] for pair in seconds),
        "fast_s": statistics.median(pair[1] for pair in seconds),
        "ratio": statistics.median(pair[0] / pair[1] for pair in seconds),
        "least": min(pair[0] / pair[1] for pair in seconds),
        "most": max(pair[0] / pair[1] for pair in seconds),
    }


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    plain, keeping = make_model(cache_size=0), make_model(cache_size=8)
    tokenizer = plain.processor.tokenizer
    seg, word, end = plain.token_ids["[SEG]"], tokenizer("it")["input_ids"][-1], tokenizer.eos_token_id
    pictures = [Image.effect_noise((320, 240), 30 + 5 * n).convert("RGB") for n in range(NUM_IMAGES)]
    asked = [
        Sample(messages=[user("Please segment the lamp in this image.", num_images=1)], images=[picture], id=str(n))
        for n, picture in enumerate(pictures)
    ]
    sentence = [*[word] * (NUM_WORDS - 2), seg, end]
    record(
        "segmenting",
        parameters=sum(p.numel() for p in plain.parameters()),
        images=NUM_IMAGES,
        new_tokens=NUM_WORDS,
        pairs=NUM_PAIRS,
        batched=ratios(
            lambda: [answer(plain, [one], sentence, use_cache=False) for one in asked],
            lambda: answer(plain, asked, sentence),
        ),
        many_masks=ratios(
            lambda: [answer(plain, asked[:1], [word, seg, end]) for _ in range(NUM_MASKS)],
            lambda: answer(plain, asked[:1], [word, *[seg] * NUM_MASKS, end]),
        ),
        many_masks_features_kept=ratios(
            lambda: [answer(keeping, asked[:1], [word, seg, end]) for _ in range(NUM_MASKS)],
            lambda: answer(keeping, asked[:1], [word, *[seg] * NUM_MASKS, end]),
        ),
        questions=_encoded_for_ten_questions(keeping, pictures[0], [word, seg, end]),
    )


def _encoded_for_ten_questions(model: Any, picture: Image.Image, said: Sequence[int]) -> dict[str, int]:
    """Ask ten questions about a picture that was not seen yet, one by one, and count what the decoder's encoder saw."""
    features, fresh = model.adapters["seg"].features, picture.rotate(180)
    before = features.num_encoded
    for number in range(10):
        question = Sample(messages=[user(f"Where is object {number}?", num_images=1)], images=[fresh], id=str(number))
        answer(model, [question], said)
    return {"asked": 10, "encoded": features.num_encoded - before}


def rows(entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what, target, measured."""
    size = f"{entry['parameters'] / 1e6:.1f} M parameters"
    titles = {
        "batched": (
            f"{entry['images']} answers with masks of {entry['new_tokens']} tokens ({size}): one batch under a cache, "
            "beside one by one without a cache, as the authors do",
            "≥ 4 ×",
        ),
        "many_masks": (f"{NUM_MASKS} masks in one answer, beside {NUM_MASKS} answers with one each", "≥ 5 ×"),
        "many_masks_features_kept": ("the same, where the sixteen answers keep the image's features", "none"),
    }
    lines = [
        (
            what,
            target,
            f"{entry[name]['ratio']:.1f} × ({entry[name]['least']:.1f} to {entry[name]['most']:.1f}; "
            f"{entry[name]['slow_s']:.2f} s and {entry[name]['fast_s']:.2f} s)",
        )
        for name, (what, target) in titles.items()
    ]
    asked = entry["questions"]
    what = f"{asked['asked']} questions about one image: times that the decoder's encoder sees it"
    return [*lines, (what, "1", str(asked["encoded"]))]


if __name__ == "__main__":
    main()

"""Looking at what was trained: pictures with answers, and whether the saved model is the same model."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from PIL.Image import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from vlmzoo.data.images import load_image
from vlmzoo.evaluation import BENCHMARKS, Benchmark, BenchmarkResult, complete
from vlmzoo.evaluation.overlays import beside
from vlmzoo.evaluation.records import Generation
from vlmzoo.geometry import decode_rle
from vlmzoo.hub import load_model
from vlmzoo.models.composed import ComposedVlm
from vlmzoo.models.registration import register_auto_classes
from vlmzoo.runs.report import GalleryItem
from vlmzoo.types import Sample

__all__ = ["gallery_of", "reload_is_identical"]

_GOOD_IOU = 0.5  # from which a mask counts as found, the field's convention


def reload_is_identical(
    model: Any, processor: Any, folder: Path, benchmark: Benchmark, *, attn_implementation: str | None = None
) -> bool:
    """Load a saved model through transformers' Auto classes, and compare weights and one answer.

    Args:
        model: as trained.
        processor: of the model.
        folder: where both were saved.
        benchmark: its first question is asked.
        attn_implementation: that the model was loaded with, so that both answer with the same kernels.

    Returns:
        Whether every tensor is equal bit for bit and the greedy answers agree.
    """
    loaded, reloaded_processor = _reload(model, folder)
    saved, kept = loaded.state_dict(), model.state_dict()
    if saved.keys() != kept.keys() or any(not saved[name].equal(kept[name].cpu()) for name in kept):
        return False
    question = next(iter(benchmark.questions()))
    limit = benchmark.max_new_tokens
    (before,) = complete(model, processor, [question], max_new_tokens=limit)
    device = model.device
    model.to("cpu")  # the device holds one model at a time
    loaded.to(device)
    if attn_implementation is not None:
        loaded.set_attn_implementation(attn_implementation)
    (after,) = complete(loaded, reloaded_processor, [question], max_new_tokens=limit)
    loaded.to("cpu")
    model.to(device)
    return before == after


def _reload(model: Any, folder: Path) -> tuple[Any, Any]:
    """Load onto the CPU as users of transformers do; native bases, whose adapters it does not know, as ours do."""
    if not isinstance(model, ComposedVlm):
        return load_model(folder, device="cpu", dtype=model.dtype)
    register_auto_classes()
    loaded: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=model.dtype)
    return loaded.eval(), AutoProcessor.from_pretrained(folder)


def _picture(question: Sample, said: Generation) -> Image:
    """Return what the model saw; where it answered with a mask, beside it the truth and what was predicted."""
    picture = load_image(question.images[0])
    if "predicted_rle" not in said.meta or not question.masks:
        return picture
    truth = question.masks[0]
    return beside(picture, truth=truth, predicted=decode_rle(said.meta["predicted_rle"], frame=truth.frame))


def gallery_of(
    benchmarks: Mapping[str, Mapping[str, Any]], results: Mapping[str, BenchmarkResult], *, num: int
) -> list[GalleryItem]:
    """Return the first pictures of every benchmark that shows pictures, with what the model said.

    Args:
        benchmarks: specs by label.
        results: by label.
        num: pictures from each.
    """
    items: list[GalleryItem] = []
    for label, result in results.items():
        questions = islice(BENCHMARKS.build(benchmarks[label]).questions(), num)
        for question, said in zip(questions, result.generations, strict=False):
            if question.images:
                main = said.scores.get(result.main_score, said.scores.get("giou", 0.0))
                items.append(
                    GalleryItem(
                        image=_picture(question, said),
                        label=label,
                        prompt=said.prompt,
                        completion=said.completion,
                        reference=str(said.reference),
                        is_correct=main == 1.0 or (main >= _GOOD_IOU and "predicted_rle" in said.meta),
                    )
                )
    return items

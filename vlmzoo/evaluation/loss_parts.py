"""Where the loss on an image example comes from: solving directly, writing the text form down, or solving from it.

Source: S2H, arXiv:2501.02669, section 6. With I an image, # the line that announces a conversion, T the text form and S
the solution, all in mean nats per token:

    l(I; S)       the solution, given the image;
    l(I #; T)     the text form, given the image and the announcement;
    l(I # T; S)   the solution, given the image and the right text form.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vlmzoo.data.collation import Collator
from vlmzoo.data.encoding import SampleEncoding
from vlmzoo.data.synthetic import SyntheticTask
from vlmzoo.outputs import IGNORED_LABEL
from vlmzoo.types import Sample, assistant

__all__ = ["LossParts", "example_loss", "measure_loss_parts"]


@dataclass(frozen=True, kw_only=True)
class LossParts:
    """Means over examples, in nats per token.

    Args:
        direct: l(I; S).
        conversion: l(I #; T).
        solution: l(I # T; S).
        num: how many examples.
    """

    direct: float
    conversion: float
    solution: float
    num: int

    def to_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


def example_loss(model: Any, processor: SampleEncoding, sample: Sample) -> Tensor:
    """Return the mean loss over one example's targets, in nats, with its graph."""
    batch = Collator(pad_token_id=processor.padding_id)([processor.encode(sample)]).to(model.device)
    return model(**batch.inputs, return_logits=False).loss


@torch.no_grad()
def measure_loss_parts(
    model: Any, processor: SampleEncoding, task: SyntheticTask, *, seed: int, indices: Sequence[int]
) -> LossParts:
    """Measure the three parts on some instances of a task.

    Args:
        model: in evaluation mode.
        processor: of the model.
        task: at the level that is looked at.
        seed: of the instances.
        indices: of the instances.
    """
    direct, conversion, solution = 0.0, 0.0, 0.0
    for index in indices:
        direct += float(example_loss(model, processor, task.sample("image", seed, index)))
        of_text, of_solution = _parts(model, processor, task, seed, index)
        conversion, solution = conversion + of_text, solution + of_solution
    num = len(indices)
    return LossParts(direct=direct / num, conversion=conversion / num, solution=solution / num, num=num)


def _parts(model: Any, processor: SampleEncoding, task: SyntheticTask, seed: int, index: int) -> tuple[float, float]:
    """Return l(I #; T) and l(I # T; S) of one instance."""
    whole = task.sample("image_via_text", seed, index)
    instance = task.instance(seed, index)
    announcement, text_form, _ = task.response(instance, "image_via_text").partition(task.text_form(instance))
    encoded = processor.encode(whole)
    starts = [
        _shared(encoded["input_ids"], processor.encode(_answering(whole, beginning))["input_ids"])
        for beginning in (announcement, announcement + text_form)
    ]
    batch = Collator(pad_token_id=processor.padding_id)([encoded]).to(model.device)
    nats = -model(**batch.inputs, return_logits=False).logprobs[0].cpu()  # (T,)
    is_target = batch.inputs["labels"][0].cpu() != IGNORED_LABEL
    place = torch.arange(len(is_target))
    text = is_target & (place >= starts[0]) & (place < starts[1])
    solution = is_target & (place >= starts[1])
    return float(nats[text].mean()), float(nats[solution].mean())


def _answering(sample: Sample, answer: str) -> Sample:
    return replace(sample, messages=[*sample.messages[:-1], assistant(answer)])


def _shared(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with alike."""
    return next(
        (n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )

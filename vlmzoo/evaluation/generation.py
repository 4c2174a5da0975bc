"""Prompts in, completions out: batched greedy sampling from any processor and model of transformers' kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from vlmzoo.data.conversations import begun_answer, with_images
from vlmzoo.data.prompting import awaited_ids, end_ids, prompt_inputs, sampling_exclusions, until_end
from vlmzoo.errors import DataError
from vlmzoo.types import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

__all__ = ["Completion", "complete", "sampling_exclusions"]


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What the model said to one prompt.

    Args:
        text: decoded, without special tokens; it begins with what was put into the model's mouth, if anything was.
        num_prompt_tokens: without padding, with the visual tokens.
        num_completion_tokens: up to the end-of-sequence token, and with it.
        finished: whether that token came before the limit.
    """

    text: str
    num_prompt_tokens: int
    num_completion_tokens: int
    finished: bool


def complete(
    model: "PreTrainedModel", processor: "ProcessorMixin", samples: Sequence[Sample], *, max_new_tokens: int
) -> list[Completion]:
    """Answer B prompts at once, greedily.

    Args:
        model: put into evaluation mode meanwhile.
        processor: its chat template renders the prompts, its tokenizer reads the answers.
        samples: B samples, each ending with a user turn, or each with the beginning of an answer in an assistant turn,
            which the model goes on from.
        max_new_tokens: the limit of each completion.

    Returns:
        B completions, in the order of the samples.

    Raises:
        DataError: if some answers are begun and others are not.
    """
    beginnings = [begun_answer(sample) for sample in samples]
    if len({beginning is None for beginning in beginnings}) > 1:
        raise DataError("The answers of a batch must all be begun, or none of them, but some are; ask them apart.")
    inputs = _prompt_inputs(processor, samples, like=model)
    generate: Any = model.generate  # its parameters are the model's own
    eos_ids = end_ids(model, processor)
    excluded = sampling_exclusions(processor, keep={*eos_ids, *awaited_ids(model, processor)})
    suppressed = {"suppress_tokens": excluded} if excluded else {}
    was_training = model.training
    model.eval()
    try:
        ids = generate(**inputs, **suppressed, max_new_tokens=max_new_tokens, do_sample=False)
    finally:
        model.train(was_training)
    prompt_length = inputs["input_ids"].shape[1]
    num_prompt_tokens = inputs["attention_mask"].sum(dim=1).tolist()
    rows = [until_end(row, eos_ids) for row in ids[:, prompt_length:].tolist()]
    texts = processor.batch_decode(rows, skip_special_tokens=True)
    return [
        Completion(
            text=(beginning or "") + text,
            num_prompt_tokens=num,
            num_completion_tokens=len(row),
            finished=bool(row) and row[-1] in eos_ids,
        )
        for beginning, text, num, row in zip(beginnings, texts, num_prompt_tokens, rows, strict=True)
    ]


def _prompt_inputs(
    processor: "ProcessorMixin", samples: Sequence[Sample], *, like: "PreTrainedModel"
) -> dict[str, Any]:
    """Render and tokenise B prompts, padded on the left, on the device and in the precision of the model."""
    is_begun = begun_answer(samples[0]) is not None
    shaping = [label for label, one in getattr(processor, "adapter_inputs", {}).items() if one.shapes_prompts]
    if shaping:
        if is_begun:
            raise DataError(
                f"The adapter `{shaping[0]}` gives images forms, which a chat template does not know, so answers "
                "cannot be begun for the model; ask without `force_conversion`."
            )
        return prompt_inputs(cast("Any", processor), samples, device=like.device, dtype=like.dtype)
    render: Any = processor.apply_chat_template  # annotated for text alone
    ending = {"continue_final_message": True} if is_begun else {"add_generation_prompt": True}
    inputs = render(
        [with_images(sample) for sample in samples],
        **ending,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
        sanitize_control_tokens=True,
    )
    return {
        name: value.to(like.device, like.dtype) if value.is_floating_point() else value.to(like.device)
        for name, value in inputs.items()
    }

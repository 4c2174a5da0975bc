"""What a passport says of a model that runs: each layer, the first token's logits, sixteen greedy tokens."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vlmzoo.data.collation import Collator
from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.prompting import sampling_exclusions
from vlmzoo.hub.passport.digests import summary
from vlmzoo.hub.passport.probes import probe_samples

__all__ = ["running_facts"]

NUM_TOKENS = 16
_NUM_LOGITS = 8


@torch.no_grad()
def running_facts(model: Any) -> dict[str, Any]:
    """Ask the model about the built-in pictures.

    Returns:
        By picture: ``layers``, each with its name and a summary of its answer in the order of running (of the first
        picture alone); ``logits``, the largest of the first token with their ids; ``tokens``, sixteen greedy ones, and
        ``margins``, by how much each was ahead of the second.
    """
    found: dict[str, Any] = {}
    for number, sample in enumerate(probe_samples()):
        inputs = _inputs(model, prompt_of(sample))
        facts: dict[str, Any] = {}
        with _watched(model) as layers:
            outputs = model(**inputs, return_logits=True)
        if number == 0:
            facts["layers"] = layers
        top = outputs.logits[0, -1].float().topk(_NUM_LOGITS)
        facts["logits"] = [[int(token), _short(value)] for value, token in zip(*top, strict=True)]
        found[sample.id] = {**facts, **_greedy(model, inputs)}
    return found


def _inputs(model: Any, sample: Any) -> dict[str, Tensor]:
    processor = model.processor
    collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
    inputs = collate([processor.encode_prompt(sample)]).inputs
    return {
        name: value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
        for name, value in inputs.items()
    }


def _greedy(model: Any, inputs: Mapping[str, Tensor]) -> dict[str, Any]:
    generated = model.generate(
        **inputs,
        suppress_tokens=sampling_exclusions(model.processor, keep=()),  # one of them would ask for another picture
        max_new_tokens=NUM_TOKENS,
        min_new_tokens=NUM_TOKENS,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    leading = [scores[0].float().topk(2).values for scores in generated.scores]
    return {
        "tokens": generated.sequences[0, -NUM_TOKENS:].tolist(),
        "margins": [_short(first - second) for first, second in leading],
    }


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[list[Any]]]:
    """Note what each layer answers the first time that it runs."""
    seen: list[list[Any]] = []
    names: set[str] = set()

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            answer = _first_tensor(output)
            if answer is not None and name not in names:
                names.add(name)
                seen.append([name, list(answer.shape), *summary(answer)])

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in _layers(model)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Iterate over the members of lists of layers, and over what stands outside them and holds nothing else."""
    inside: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(f"{outer}.") for outer in inside):
            continue
        parent = model.get_submodule(name.rpartition(".")[0]) if "." in name else model
        if name and isinstance(parent, nn.ModuleList):
            inside.append(name)
            yield name, module
        elif name and not any(True for _ in module.children()):
            yield name, module


def _first_tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output if output.is_floating_point() else None
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, tuple | list):
        return next((found for found in map(_first_tensor, output) if found is not None), None)
    return None


def _short(value: Any) -> float:
    return float(f"{float(value):.6g}")

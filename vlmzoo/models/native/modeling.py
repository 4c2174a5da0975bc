"""transformers' models as bases: the same class names and weights, with room for adapters.

Letters: B sequences, T text positions.
"""

import inspect
from functools import cache
from typing import Any, cast

import transformers
from torch import Tensor
from transformers import PreTrainedModel

from vlmzoo.data.packing import Segments
from vlmzoo.models.adapting import AdapterMixin
from vlmzoo.models.native.shared_images import show_again
from vlmzoo.models.native.table import NATIVE, native_base
from vlmzoo.models.packed import place_rows
from vlmzoo.outputs import VlmOutput

__all__ = ["NativeMixin", "native_class"]


class NativeMixin(AdapterMixin):
    """Runs the inner model of a transformers class, then goes on as every base does."""

    family = "native"

    @classmethod
    def is_custom_code(cls) -> bool:
        """Say no: transformers then renames on loading and on saving as it does for its own class of this name."""
        return False

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_logits: bool = True,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: int | Tensor | None = None,
        temperature: float = 1.0,
        return_entropy: bool = False,
        return_dict: bool | None = None,
        image_index: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the model.

        Args:
            input_ids: ``(B, T)``, image placeholders already expanded by the processor.
            attention_mask: ``(B, T)``, 1 where a token counts.
            labels: ``(B, T)``, ``input_ids`` at targets and -100 elsewhere; asks for ``logprobs`` and ``loss``.
            return_logits: False leaves the logits out, so that ``(B, T, V)`` never exists.
            logits_to_keep: logits of the last so many positions only; 0 for all.
            num_items_in_batch: divides ``loss`` in place of this batch's own number of targets.
            temperature: divides the logits behind ``logprobs`` and ``entropy``, not those that are returned.
            return_entropy: True adds ``entropy`` at the targets.
            return_dict: False gives a tuple.
            image_index: ``(shown,)``, which image stands at each place of one, in their order, so that an image that
                several rows show is encoded once; None shows each once.
            kwargs: inputs of adapters; what is left is passed to transformers' inner model.
        """
        adapter_inputs = self._take_adapter_inputs(kwargs)
        if labels is not None:
            kwargs.setdefault("use_cache", False)
        segments = Segments.of(kwargs.get("position_ids"), attention_mask=attention_mask, cache=kwargs.get("cache"))
        if segments is not None:
            attention_mask, kwargs["position_ids"] = place_rows(self, segments, input_ids=input_ids, **kwargs)
            if len(segments.lengths) > 1:
                kwargs["use_cache"] = False
        inner, read = cast("Any", self.model), input_ids
        if self._must_look and kwargs.get("pixel_values") is None and kwargs.get("inputs_embeds") is None:
            kwargs["inputs_embeds"] = self.get_input_embeddings()(input_ids) + self._look_at_nothing()
            read = None  # a base takes one of the two
        if image_index is not None:
            show_again(inner, kwargs, image_index)
        outputs = inner(input_ids=read, attention_mask=attention_mask, return_dict=True, **kwargs)
        result: VlmOutput = self._conclude(
            outputs,
            labels=labels,
            return_logits=return_logits,
            logits_to_keep=logits_to_keep,
            num_items_in_batch=num_items_in_batch,
            context={"input_ids": input_ids, "attention_mask": attention_mask},
            adapter_inputs=adapter_inputs,
            language_model=self,
            segments=segments,
            temperature=temperature,
            return_entropy=return_entropy,
        )
        return result.to_tuple() if return_dict is False else result


@cache
def native_class(model_type: str) -> type[PreTrainedModel]:
    """Return transformers' class with room for adapters.

    It bears the name of transformers' own, so that a saved configuration names a class that everybody has.

    Raises:
        ConfigError: if the architecture is no native base.
    """
    entry = native_base(model_type)
    base: type[PreTrainedModel] = getattr(transformers, entry.model)
    body = {
        "__module__": __name__,
        "__doc__": f"transformers' {entry.model} with room for adapters.",
        "part_prefixes": entry.parts,
        "forward": _forward_with_signature_of(base),
    }
    return type(entry.model, (NativeMixin, base), body)


def _forward_with_signature_of(base: type[PreTrainedModel]) -> Any:
    """Return a forward whose signature names what the base takes, for those who look: ``generate``, trainers."""

    def forward(self: NativeMixin, *args: Any, **kwargs: Any) -> Any:
        bound = dict(zip(names, args, strict=False))
        return NativeMixin.forward(self, **bound, **kwargs)

    theirs = inspect.signature(base.forward).parameters
    ours = inspect.signature(NativeMixin.forward).parameters
    names = [name for name in theirs if name not in ("self", "kwargs")]
    merged = {name: p for name, p in theirs.items() if p.kind is not inspect.Parameter.VAR_KEYWORD}
    added = {name: p for name, p in ours.items() if name not in merged}
    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for n, p in added.items() if n != "kwargs"]
    forward.__signature__ = inspect.Signature([*merged.values(), *keyword, ours["kwargs"]])  # type: ignore[attr-defined]
    forward.__doc__ = NativeMixin.forward.__doc__
    return forward


def __getattr__(name: str) -> Any:
    """Find a class by its name, so that models can be pickled."""
    for model_type, entry in NATIVE.items():
        if entry.model == name:
            return native_class(model_type)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`.")

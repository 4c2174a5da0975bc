"""From the decoder's hidden states to what a base returns: logits, log-probabilities, loss, the adapters' outputs.

Letters: B sequences, T text positions, V vocabulary, D width of a token.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from vlmzoo.adapters import AdapterContext
from vlmzoo.blocks.language.causal_lm import apply_head, logprobs_of_logits, target_statistics
from vlmzoo.data.packing import Segments
from vlmzoo.models.adapted import Adapted
from vlmzoo.models.packed import split_context
from vlmzoo.outputs import IGNORED_LABEL, VlmOutput

__all__ = ["OutcomeMixin"]


class OutcomeMixin(Adapted):
    """Runs the head and the adapters."""

    @property
    def adapter_input_names(self) -> set[str]:
        """Names of the extra arguments that the adapters take."""
        return {name for adapter in self.attached.values() for name in adapter.input_names}

    def _take_adapter_inputs(self, kwargs: dict[str, Any]) -> dict[str, Tensor]:
        """Take the adapters' arguments out of ``kwargs``, and ask for the hidden states that they read."""
        taken = {name: kwargs.pop(name) for name in self.adapter_input_names & kwargs.keys()}
        if any(layer != -1 for adapter in self.attached.values() for layer in adapter.hidden_layers):
            kwargs["output_hidden_states"] = True
        return {name: value for name, value in taken.items() if value is not None}

    def _conclude(
        self,
        outputs: Any,
        *,
        labels: Tensor | None,
        return_logits: bool,
        logits_to_keep: int | Tensor,
        num_items_in_batch: int | Tensor | None,
        context: Mapping[str, Any],
        adapter_inputs: Mapping[str, Tensor],
        language_model: Any,
        segments: Segments | None = None,
        temperature: float = 1.0,
        return_entropy: bool = False,
    ) -> VlmOutput:
        """Go from the decoder's hidden states to logits, log-probabilities, loss and the adapters' outputs."""
        hidden = outputs.last_hidden_state
        if self._recorder is not None:
            self._recorder.see(context["input_ids"], hidden, cache=outputs.cache)
        result = VlmOutput(
            cache=outputs.cache,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        if return_logits:
            kept = hidden[:, -logits_to_keep:] if isinstance(logits_to_keep, int) else hidden[:, logits_to_keep]
            result.logits = apply_head(language_model, kept)
        if labels is not None:
            is_plain = temperature == 1.0 and not return_entropy
            if is_plain and result.logits is not None and result.logits.shape[:2] == labels.shape:
                result.logprobs = logprobs_of_logits(result.logits, labels)  # the head has run already
            else:
                result.logprobs, result.entropy = target_statistics(
                    language_model, hidden, labels, temperature=temperature, with_entropy=return_entropy
                )
            if num_items_in_batch is None:
                num_items_in_batch = (labels[:, 1:] != IGNORED_LABEL).sum().clamp(min=1)
            result.loss = -result.logprobs.sum() / num_items_in_batch
        found = self._run_adapters(
            hidden, outputs.hidden_states, {**context, "labels": labels}, adapter_inputs, segments
        )
        result.adapters = found or None
        return result

    def _run_adapters(
        self,
        last: Tensor,
        hidden_states: Sequence[Tensor] | None,
        context: Mapping[str, Any],
        adapter_inputs: Mapping[str, Tensor],
        segments: Segments | None,
    ) -> dict[str, dict[str, Tensor]]:
        """Run the adapters; they see the rows of a packed batch as lines of a padded one."""
        found: dict[str, dict[str, Tensor]] = {}
        if segments is not None and self.attached:
            context = split_context(segments, context, last.device)
        for label, adapter in self.attached.items():
            own = {name: adapter_inputs[name] for name in adapter.input_names if name in adapter_inputs}
            if adapter.input_names and not own:
                continue
            states = {layer: last if layer == -1 else (hidden_states or ())[layer] for layer in adapter.hidden_layers}
            if segments is not None:
                states = {layer: segments.split(state) for layer, state in states.items()}
            ids = {token: self.token_ids[token] for token in adapter.special_tokens}
            made = adapter(AdapterContext(hidden_states=states, inputs=own, token_ids=ids, **context))
            if made:
                found[label] = made
        return found

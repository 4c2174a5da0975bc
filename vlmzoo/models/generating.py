"""Generation with adapters that read what is generated: masks and boxes beside the ids.

Letters: B sequences.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vlmzoo.adapters import Adapter, GenerationContext
from vlmzoo.adapters._generation import StateRecorder
from vlmzoo.errors import ConfigError
from vlmzoo.models.adapted import Adapted
from vlmzoo.models.comparing import Comparison, MatchCount, compare_images, count_matching
from vlmzoo.models.segmenting import Segmentation, segment_image
from vlmzoo.types import ImageLike

__all__ = ["GeneratingMixin"]


class GeneratingMixin(Adapted):
    """Lets the adapters that listen add their outputs to what transformers generates."""

    @torch.no_grad()
    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Generate as transformers does; with ``return_dict_in_generate=True`` adapters add what they make of it.

        Args:
            args: transformers' arguments.
            kwargs: likewise, and the adapters' inputs.

        Returns:
            Ids, or transformers' dictionary with the outputs of the adapters: all of them under ``adapters`` by label,
            and each under its own name, such as ``masks``.

        Raises:
            ConfigError: if an adapter would read what is generated, and beams are searched, or embeddings stand in
                place of ids.
        """
        names = {name for adapter in self.attached.values() for name in adapter.input_names}
        taken = {name: kwargs.pop(name) for name in names & kwargs.keys()}
        given = {name: value for name, value in taken.items() if value is not None}
        shaping = {name for adapter in self.attached.values() if adapter.shapes_images for name in adapter.input_names}
        self._image_inputs = {name: value for name, value in given.items() if name in shaping}
        try:
            return self._generate(args, kwargs, given)
        finally:
            self._image_inputs = {}

    def _generate(self, args: Sequence[Any], kwargs: dict[str, Any], given: Mapping[str, Any]) -> Any:
        generate: Any = super().generate  # type: ignore[misc]
        listening = {
            label: adapter
            for label, adapter in self.attached.items()
            if adapter.listens and given.keys() & set(adapter.input_names)
        }
        if not (listening and kwargs.get("return_dict_in_generate")):
            return generate(*args, **kwargs)
        _refuse_beams(self.generation_config, kwargs)
        prompts = kwargs["input_ids"] if "input_ids" in kwargs else next(iter(args), None)
        if prompts is None:
            raise ConfigError("Adapters that read what is generated need `input_ids`; do not give `inputs_embeds`.")
        tokens = [self.token_ids[token] for adapter in listening.values() for token in adapter.special_tokens]
        recorder = self._recorder = StateRecorder(tokens)
        try:
            outputs = generate(*args, **kwargs)
        finally:
            self._recorder = None
        found = {}
        for label, adapter in listening.items():
            own = {name: given[name] for name in adapter.input_names if name in given}
            context = _context_of(adapter, recorder, outputs.sequences, prompts.shape[1], own, self.token_ids)
            found[label] = adapter.after_generation(context)
        outputs["adapters"] = found
        for made in found.values():
            for name, value in made.items():
                outputs[name] = value
        return outputs

    def segment(self, image: ImageLike, text: str, *, max_new_tokens: int = 64) -> Segmentation:
        """Answer a question about an image with masks; the model must have the seg adapter.

        Args:
            image: a file, or an image already opened.
            text: a question, or the name of what is looked for ("the lamp").
            max_new_tokens: the limit of the answer.

        Returns:
            The masks, a list, in the original frame of the image. ``text`` is the answer, ``spans`` says where in it
            each mask's ``[SEG]`` stands, and where there is no mask ``reason`` says why.

        Raises:
            ConfigError: if the model has no seg adapter.
            DataError: if the image cannot be used.
        """
        return segment_image(self, image, text, max_new_tokens=max_new_tokens)

    def answer(
        self, image: ImageLike, question: str, *, options: Sequence[str] = (), proposer: Any = None, **decisions: Any
    ) -> Any:
        """Answer a question at a glance or, where the model refuses, after looking for what it misses (FaST).

        Args:
            image: a file, or an image already opened.
            question: in words.
            options: answers of which the likeliest is chosen; none answers freely.
            proposer: what looks: ``vstar``, ``cos``, or any callable ``(image, question, name)``; None takes the
                adapter that this model has for it.
            decisions: options of ``vlmzoo.agents.fast_slow.FastSlowOptions``.

        Returns:
            A ``vlmzoo.agents.fast_slow.Answer``: ``text``, ``mode``, ``evidence`` and ``trace``.

        Raises:
            ConfigError: if an option or the proposer cannot be.
            DataError: if the image cannot be used.
        """
        agents: Any = importlib.import_module("vlmzoo.agents.fast_slow")  # agents stand above models
        try:
            chosen = agents.FastSlowOptions(**decisions)
        except TypeError as error:
            raise ConfigError(f"`answer`: {error}.") from error
        return agents.FastSlow(self, proposer=proposer, options=chosen).answer(image, question, options=options)

    def compare(
        self, image_a: ImageLike, image_b: ImageLike, *, question: str | None = None, max_new_tokens: int = 512
    ) -> Comparison:
        """Say whether two images show the very same thing, why, and how probable that is.

        Args:
            image_a: a file, or an image already opened; more than 512 pixels a side are scaled down, as in training.
            image_b: likewise.
            question: other words than ours; they should ask for yes or no between answer tags.
            max_new_tokens: the limit of explanation and answer.

        Raises:
            DataError: if an image cannot be used.
        """
        return compare_images(self, image_a, image_b, question=question, max_new_tokens=max_new_tokens)

    def count_matches(
        self,
        reference: ImageLike,
        candidates: Sequence[ImageLike],
        *,
        question: str | None = None,
        max_new_tokens: int = 512,
    ) -> MatchCount:
        """Say how many candidates show the very thing of the reference.

        Args:
            reference: a file, or an image already opened.
            candidates: at least one; FGVQA has three.
            question: other words than ours; they should ask for a number between answer tags.
            max_new_tokens: the limit of explanation and answer.

        Raises:
            ConfigError: if there is no candidate.
            DataError: if an image cannot be used.
        """
        return count_matching(self, reference, candidates, question=question, max_new_tokens=max_new_tokens)


def _context_of(
    adapter: Adapter,
    recorder: StateRecorder,
    sequences: Any,
    prompt_length: int,
    inputs: Mapping[str, Any],
    token_ids: Mapping[str, int],
) -> GenerationContext:
    ids = {token: token_ids[token] for token in adapter.special_tokens}
    seen = {token: recorder.predicting(sequences, id) for token, id in ids.items()}
    return GenerationContext(
        sequences=sequences,
        prompt_length=prompt_length,
        places={token: places for token, (places, _) in seen.items()},
        states={token: states for token, (_, states) in seen.items()},
        inputs=inputs,
        token_ids=ids,
    )


def _refuse_beams(declared: Any, given: Mapping[str, Any]) -> None:
    """Refuse beam search, which moves rows about while states are collected."""
    for config in (given, given.get("generation_config"), declared):
        beams = config.get("num_beams") if isinstance(config, Mapping) else getattr(config, "num_beams", None)
        if beams is not None and beams > 1:
            raise ConfigError(f"`num_beams` must be 1 where adapters read what is generated, but is {beams} instead.")
        if beams is not None:
            return

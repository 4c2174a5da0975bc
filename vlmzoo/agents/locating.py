"""A model with the search adapter, asked about the patches of one image, as V* search wants it.

    locator = ModelLocator(model, picture)
    result = VisualSearch().search(locator, locator.frame, "cup")

Several patches are looked at in one batch. The three questions that may be asked about a patch share one reading of it:
its image goes through the language model once, and through the detector's encoder once.

Source: V*, arXiv:2312.14135, section 3.2; of several ``[LOC]`` the first detection and the last heat map count.
Letters: P patches, T text positions, L generated tokens, Q boxes, D width of a token.
"""

import copy
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlmzoo.agents.visual_search import Detection
from vlmzoo.data.collation import Collator
from vlmzoo.data.images import load_image
from vlmzoo.data.prompting import end_ids, prompt_inputs, sampling_exclusions
from vlmzoo.data.prompts import load_prompts
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import Box, Frame, HeatMap
from vlmzoo.models.option_scoring import option_ids
from vlmzoo.types import ImageLike, Sample, user

__all__ = ["ModelLocator", "PlainLocator", "search_adapter"]

_KEPT = 64  # readings of patches; at three levels a search has 21


class PlainLocator:
    """Asks one question about one patch at a time, by ``generate``, on any base; every call starts anew.

    Args:
        model: with the search adapter; it must be in evaluation mode.
        image: that is searched.
        name: of the image, for frames.
        max_new_tokens: the limit of an answer; the authors' is 100.
        use_cache: whether generation keeps keys and values; the authors' does not.

    Raises:
        ConfigError: if the model has no search adapter.
    """

    def __init__(
        self, model: Any, image: ImageLike, *, name: str = "image", max_new_tokens: int = 100, use_cache: bool = True
    ) -> None:
        self.model = model
        self.label, self.adapter = search_adapter(model)
        self.processor = model.processor
        self.picture = load_image(image)
        self.frame = Frame.original(name, width=self.picture.width, height=self.picture.height)
        self.max_new_tokens = max_new_tokens
        self.use_cache = use_cache
        self._ends = end_ids(model, self.processor)
        self._excluded = sampling_exclusions(self.processor, keep={*self._ends, model.token_ids[self.adapter.token]})

    def detect(self, patches: Sequence[Frame], question: str) -> list[Detection]:
        """Look for an object in several patches."""
        return [_detection(patch, self._found(patch, question)[1]) for patch in patches]

    def describe(self, patch: Frame, question: str) -> str:
        """Answer a question about a patch in words."""
        return self._found(patch, question)[0]

    def locate(self, patch: Frame, question: str) -> HeatMap | None:
        """Return where a phrase points in a patch; None where the model said no ``[LOC]``."""
        return _detection(patch, self._found(patch, question)[1]).heat

    @torch.no_grad()
    def _found(self, patch: Frame, question: str) -> tuple[str, "list[_Found]"]:
        """Return what was said, and what each ``[LOC]`` of it found."""
        inputs = prompt_inputs(
            self.processor, [self._sample(patch, question)], device=self.model.device, dtype=self.model.dtype
        )
        outputs = self.model.generate(
            **inputs,
            **({"suppress_tokens": self._excluded} if self._excluded else {}),
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            use_cache=self.use_cache,
            return_dict_in_generate=True,
        )
        ids = outputs.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        columns = (outputs.loc_boxes[0], outputs.loc_probabilities[0], outputs.loc_heat[0])
        return self._text(ids), list(zip(*columns, strict=True))

    def _sample(self, patch: Frame, question: str) -> Sample:
        return Sample(messages=[user(question, num_images=1)], images=[self._cut(patch)], id=str(patch))

    def _cut(self, patch: Frame) -> Image.Image:
        edges = Box.whole(patch).to(self.frame).rounded().xyxy
        return self.picture.crop((int(edges[0]), int(edges[1]), int(edges[2]), int(edges[3])))

    def _text(self, ids: Sequence[int]) -> str:
        length = next((place for place, id in enumerate(ids) if id in self._ends), len(ids))
        return self.processor.tokenizer.decode(ids[:length], skip_special_tokens=True).strip()


class ModelLocator(PlainLocator):
    """Asks about several patches at once, and reads the image of each once whatever is asked.

    The answer that training taught, ``Sure, [LOC].``, is tried as a whole: where the model would have said just that,
    token by token, one call finds it; where not, it is asked step by step. So answers are those of ``PlainLocator``.
    Bases whose images differ in their number of tokens (Qwen2-VL) are asked as ``PlainLocator`` does.

    Args:
        model: with the search adapter; it must be in evaluation mode.
        image: that is searched.
        name: of the image, for frames.
        max_new_tokens: the limit of an answer.
        num_kept: patches whose reading is kept for further questions.

    Raises:
        ConfigError: if the model has no search adapter.
    """

    def __init__(
        self, model: Any, image: ImageLike, *, name: str = "image", max_new_tokens: int = 100, num_kept: int = _KEPT
    ) -> None:
        super().__init__(model, image, name=name, max_new_tokens=max_new_tokens)
        is_tiled = getattr(self.processor, "tiling", None) is not None
        self.can_share = hasattr(model, "num_image_tokens") and not is_tiled  # every image has as many tokens
        self.num_kept = num_kept
        self._read: OrderedDict[Frame, tuple[_Reading, int]] = OrderedDict()
        self._asked: dict[str, list[int]] = {}  # ids of prompts by question: they are the same for every patch

    def detect(self, patches: Sequence[Frame], question: str) -> list[Detection]:
        """Look for an object in several patches, in one batch."""
        if not self.can_share:
            return super().detect(patches, question)
        with torch.no_grad():
            answers = self._ask(patches, question)
        return [_detection(patch, found) for patch, (_, found) in zip(patches, answers, strict=True)]

    def describe(self, patch: Frame, question: str) -> str:
        """Answer a question about a patch in words; it is no question for a place, so none is tried."""
        if not self.can_share:
            return super().describe(patch, question)
        with torch.no_grad():
            return self._ask([patch], question, tries_draft=False)[0][0]

    @torch.no_grad()
    def _found(self, patch: Frame, question: str) -> tuple[str, "list[_Found]"]:
        return self._ask([patch], question)[0] if self.can_share else super()._found(patch, question)

    def _ask(
        self, patches: Sequence[Frame], question: str, *, tries_draft: bool = True
    ) -> list[tuple[str, "list[_Found]"]]:
        """Ask one question about P patches; the answer, and what each ``[LOC]`` of it found."""
        if question not in self._asked:
            self._asked[question] = self.processor.encode_prompt(self._sample(patches[0], question))["input_ids"]
        ids = self._asked[question]
        start = len(ids) - ids[::-1].index(self.model.config.image_token_id)
        readings = self._readings(patches, ids[:start])
        said = _Asking(self, [one for one, _ in readings], [row for _, row in readings]).answers(
            ids[start:], tries_draft=tries_draft
        )
        loc = self.model.token_ids[self.adapter.token]
        answers: list[tuple[str, list[_Found]]] = []
        for (reading, row), (spoken, states) in zip(readings, said, strict=True):
            wanted = [place for place, id in enumerate(spoken) if id == loc]
            found: list[_Found] = []
            if wanted:
                images = torch.full((len(wanted),), row, device=states.device)
                found = self.adapter.locate(states[wanted], images, reading.inputs)
            answers.append((self._text(spoken), found))
        return answers

    @cached_property
    def draft(self) -> list[int]:
        """The ids of the answer that training taught."""
        sample = Sample(messages=[user("?", num_images=1)], images=[Image.new("RGB", (8, 8))], id="draft")
        answer = load_prompts("seal")["search"]["located"].replace("[LOC]", self.adapter.token)
        return option_ids(self.processor, sample, answer, with_adapters=False)[: self.max_new_tokens]

    def _readings(self, patches: Sequence[Frame], prefix: Sequence[int]) -> "list[tuple[_Reading, int]]":
        """Return for each patch the batch that it was read in, and its row there; read those that were not."""
        new = [patch for patch in dict.fromkeys(patches) if patch not in self._read]
        if new:
            reading = self._reading(new, prefix)
            for row, patch in enumerate(new):
                self._read[patch] = (reading, row)
        found = [self._read[patch] for patch in patches]
        while len(self._read) > max(self.num_kept, len(patches)):
            self._read.popitem(last=False)
        return found

    def _reading(self, patches: Sequence[Frame], prefix: Sequence[int]) -> "_Reading":
        device, dtype = self.model.device, self.model.dtype
        rows = [self.processor.encode_prompt(self._sample(patch, "?")) for patch in patches]
        collate = Collator(
            pad_token_id=self.processor.padding_id, side="left", adapter_inputs=self.processor.adapter_inputs
        )
        batch = collate(rows).to(device).inputs
        ids = torch.tensor([list(prefix)] * len(patches), device=device)
        outputs = self.model(
            input_ids=ids,
            pixel_values=batch["pixel_values"].to(dtype),
            use_cache=True,
            logits_to_keep=1,
        )
        own = {name: batch[name] for name in self.adapter.input_names}
        return _Reading(outputs.cache, own)


class _Reading:
    """Keys and values of the beginning of a prompt, up to and with the image, for some patches."""

    def __init__(self, cache: Any, inputs: dict[str, Tensor]) -> None:
        self.cache = cache
        self.inputs = inputs


class _Asking:
    """One question to P patches that were read."""

    def __init__(self, locator: ModelLocator, readings: Sequence[_Reading], rows: Sequence[int]) -> None:
        self.locator = locator
        self.model = locator.model
        self.readings = list(readings)
        self.rows = list(rows)
        self.excluded = torch.tensor(locator._excluded, dtype=torch.long, device=self.model.device)

    def answers(self, question: Sequence[int], *, tries_draft: bool) -> list[tuple[list[int], Tensor]]:
        """Return the ids of each answer ``(L,)``, and the states ``(L, D)`` that predicted them."""
        found: list[tuple[list[int], Tensor] | None] = [None] * len(self.rows)
        if tries_draft:
            found = self._as_drafted(question, self.locator.draft)
        rest = [place for place, answer in enumerate(found) if answer is None]
        if rest:
            stepped = self._step_by_step(rest, question)
            for place, answer in zip(rest, stepped, strict=True):
                found[place] = answer
        return [answer for answer in found if answer is not None]

    def _as_drafted(self, question: Sequence[int], draft: Sequence[int]) -> "list[tuple[list[int], Tensor] | None]":
        ids = torch.tensor([[*question, *draft[:-1]]] * len(self.rows), device=self.model.device)
        outputs = self._call(self._cache(range(len(self.rows))), ids)
        begin = len(question) - 1
        states = outputs.hidden_states[-1][:, begin:]  # (P, L, D), which predict the draft
        chosen = self._chosen(outputs.logits[:, begin:])
        wanted = torch.tensor(list(draft), device=chosen.device)
        fits = (chosen == wanted).all(dim=1).tolist()
        return [(list(draft), state) if fit else None for fit, state in zip(fits, states, strict=True)]

    def _step_by_step(self, places: Sequence[int], question: Sequence[int]) -> list[tuple[list[int], Tensor]]:
        ids = torch.tensor([list(question)] * len(places), device=self.model.device)
        cache, ends = self._cache(places), self.locator._ends
        spoken: list[list[int]] = [[] for _ in places]
        states: list[list[Tensor]] = [[] for _ in places]
        is_over = [False] * len(places)
        for _ in range(self.locator.max_new_tokens):
            outputs = self._call(cache, ids)
            cache = outputs.cache
            chosen = self._chosen(outputs.logits[:, -1])
            for row, id in enumerate(chosen.tolist()):
                if not is_over[row]:
                    spoken[row].append(id)
                    states[row].append(outputs.hidden_states[-1][row, -1])
                    is_over[row] = id in ends
            if all(is_over):
                break
            ids = chosen.unsqueeze(1)
        return [(own, torch.stack(its)) for own, its in zip(spoken, states, strict=True)]

    def _call(self, cache: Any, ids: Tensor) -> Any:
        return self.model(input_ids=ids, cache=cache, use_cache=True, output_hidden_states=True)

    def _chosen(self, logits: Tensor) -> Tensor:
        """Return the likeliest ids that may be said."""
        return logits.float().index_fill(-1, self.excluded, -torch.inf).argmax(dim=-1)

    def _cache(self, places: Sequence[int]) -> Any:
        """Return a copy of the keys and values of some patches, which were all read in one batch or each alone."""
        groups = {id(self.readings[place]) for place in places}
        if len(groups) == 1:
            cache = copy.deepcopy(self.readings[places[0]].cache)
            cache.batch_select_indices(torch.tensor([self.rows[place] for place in places], device=self.model.device))
            return cache
        copies = [self._cache([place]) for place in places]
        return _joined(copies)


def _joined(caches: Sequence[Any]) -> Any:
    """Put the rows of several caches of equal length together."""
    whole = caches[0]
    for number, layer in enumerate(whole.layers):
        layer.keys = torch.cat([cache.layers[number].keys for cache in caches])
        layer.values = torch.cat([cache.layers[number].values for cache in caches])
    return whole


_Found = tuple[Tensor, Tensor, Tensor]  # boxes (Q, 4), probabilities (Q,), heat (H, W)


class _Boxes(Sequence[Box]):
    """Boxes of a patch that are made when they are asked for: there are thousands, and few are."""

    def __init__(self, fractions: Tensor, patch: Frame) -> None:
        self.fractions = fractions.float().cpu().numpy().astype(np.float64)
        self.patch = patch

    def __len__(self) -> int:
        return len(self.fractions)

    @overload
    def __getitem__(self, place: int) -> Box: ...

    @overload
    def __getitem__(self, place: slice) -> list[Box]: ...

    def __getitem__(self, place: int | slice) -> Box | list[Box]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        return Box.from_cxcywh(self.fractions[place].tolist(), frame=self.patch.unit).to(self.patch)


def _detection(patch: Frame, found: "Sequence[_Found]") -> Detection:
    """Return what a search takes of an answer: the first detection, the last heat map."""
    if not found:
        return Detection(boxes=[], probabilities=[], heat=None)
    heat = HeatMap(found[-1][2].float().cpu().numpy(), frame=patch)
    return Detection(boxes=_Boxes(found[0][0], patch), probabilities=found[0][1].tolist(), heat=heat)


def search_adapter(model: Any) -> tuple[str, Any]:
    """Return the label and the adapter that finds things.

    Raises:
        ConfigError: if the model has none, or several.
    """
    found = [(label, one) for label, one in model.attached.items() if "search_pixels" in one.input_names]
    if len(found) != 1:
        held = ", ".join(f"`{label}`" for label in model.attached) or "none"
        raise ConfigError(
            f"To search, a model must have one search adapter, but has {len(found)} (its adapters: {held}); build it "
            "with `adapters=['search']`, or load one that was trained."
        )
    return found[0]

"""Thinking fast and slow: answer at a glance, or look for what is missing and answer with the evidence (FaST).

    agent = FastSlow(model)                                     # one model with switch, search and seg
    agent = FastSlow(switch, proposer={"type": "vstar", "model": searcher}, segmenter=lisa)
    answer = agent.answer(image, "What colour is the flag?")
    answer.text, answer.mode, answer.evidence, answer.trace.to_html()

Source: FaST, arXiv:2408.08862, section 3; its authors never released this pipeline. Where the paper is silent it does
as SEAL (V*, arXiv:2312.14135, section 3 and its code) does, and what is ours is said where it stands.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from PIL import Image

from vlmzoo.agents.cases import Answer, Case, Request, answer_of, case_of, words_of
from vlmzoo.agents.fast_slow_options import FastSlowOptions
from vlmzoo.agents.finding import EvidenceFinder, proposer_of
from vlmzoo.agents.metering import Meter
from vlmzoo.agents.object_pictures import dimmed_crop, undimmed_crop
from vlmzoo.agents.proposers import ProposeCall, Proposer
from vlmzoo.agents.refining import BoxRefiner
from vlmzoo.agents.shown import Alter, Shown
from vlmzoo.agents.trace import Evidence, Step, StepKind
from vlmzoo.data.focus import FocusObject, focus_sample
from vlmzoo.data.object_crops import location_text
from vlmzoo.models.image_memory import remembered_images
from vlmzoo.models.switching import ask_samples, choose
from vlmzoo.types import ImageLike

__all__ = ["Answer", "FastSlow", "FastSlowOptions", "Request"]


class FastSlow:
    """Answers questions with one model or several.

    Args:
        switch: a model that answers or refuses; any of ours, best with the adapter ``switch``.
        proposer: ``vstar``, ``cos``, ``{type: …}``, a ``Proposer``, or a callable ``(image, question, name)``. None
            takes ``vstar`` or ``cos`` if the switch has the adapter for it. A spec may name its own ``model``.
        segmenter: a model with the seg adapter, which tightens boxes; None takes the switch if it has one.
        options: how it decides, looks and answers.

    Attributes:
        refiner: segments what is found; None leaves boxes as proposed.
        alter: gives other evidence than what was found, for audits; None shows what was found.

    Raises:
        ConfigError: if there is no such proposer, or a model lacks an adapter.
    """

    alter: Alter | None = None

    def __init__(
        self,
        switch: Any,
        *,
        proposer: "str | Mapping[str, Any] | Proposer | ProposeCall | None" = None,
        segmenter: Any = None,
        options: FastSlowOptions | None = None,
    ) -> None:
        self.switch = switch
        self.options = options or FastSlowOptions()
        self.finder = EvidenceFinder(proposer_of(proposer, switch), self.options)
        if segmenter is None and any("seg_pixels" in adapter.input_names for adapter in switch.attached.values()):
            segmenter = switch
        self.refiner = None if segmenter is None else BoxRefiner(segmenter, self.options)
        own = self.finder.proposer
        self.models = [switch, *(own.models if own else ()), *([] if segmenter is None else [segmenter])]

    def answer(self, image: ImageLike, question: str, *, options: Sequence[str] = ()) -> Answer:
        """Answer one question.

        Args:
            image: a file, or an image already opened.
            question: in words.
            options: answers of which the likeliest is chosen.

        Raises:
            DataError: if the image cannot be used, or the question is empty.
        """
        return self.answer_all([Request(image, question, options)])[0]

    def answer_all(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer questions, those of one stage together as far as they can be; an image is encoded once for all.

        Raises:
            DataError: if an image cannot be used, or a question is empty.
        """
        answers: list[Answer] = []
        pictures: dict[Any, Image.Image] = {}
        with self._asking():
            size = self.options.batch_size
            for start in range(0, len(requests), size):
                cases = [case_of(request, pictures) for request in requests[start : start + size]]
                self._run(cases)
                answers += [answer_of(case) for case in cases]
        return answers

    @contextmanager
    def _asking(self) -> Iterator[None]:
        models = list({id(model): model for model in self.models}.values())
        training = [model.training for model in models]
        for model in models:
            model.eval()
        try:
            with remembered_images(models):
                yield
        finally:
            for model, was_training in zip(models, training, strict=True):
                model.train(was_training)

    def _run(self, cases: Sequence[Case]) -> None:
        self._ask(cases, "fast")
        for case in cases:
            self._decide(case)
        for number in range(self.options.max_rounds):
            active = [case for case in cases if case.names]
            if not active:
                break
            for case in active:
                self.finder.find(case)
            if self.refiner is not None:
                self.refiner.refine([case for case in active if case.found])
            informed = [case for case in active if case.found]
            for case in active:
                case.names = []
                if not case.found:
                    case.trace.stopped_by, case.is_low = "no_evidence", True
            self._ask(informed, "slow")
            for case in informed:
                case.mode = "slow"
                self._go_on(case, is_last=number + 1 == self.options.max_rounds)
        refused = [case for case in cases if case.said is not None and self._wants_retry(case)]
        for case in refused:
            case.is_low = True
            if case.mode == "slow":
                case.trace.stopped_by, case.mode = "refused_twice", "fast"
        self._ask(refused, "retry")
        self._choose([case for case in cases if case.request.options])

    def _decide(self, case: Case) -> None:
        """Name what is to be looked for; nothing if the answer stands."""
        assert case.said is not None
        missing, decide, tau = case.said.missing, self.options.decide, self.options.tau_fast
        is_unsure = missing is not None or (tau is not None and case.said.confidence < tau)
        if decide == "fast" or not (is_unsure or decide == "slow"):
            case.trace.stopped_by = "fast_only" if decide == "fast" and is_unsure else "answered"
            return
        names = missing or self.options.noun_chunks(case.request.question) or [case.request.question.rstrip("?. ")]
        case.names = list(names)[: self.options.max_objects]

    def _go_on(self, case: Case, *, is_last: bool) -> None:
        """After an answer with evidence: look for what it still misses, if there is a round left."""
        assert case.said is not None
        if case.said.missing is None or is_last or case.trace.stopped_by == "time_budget":
            return
        case.names = [name for name in case.said.missing if name.casefold() not in case.asked]
        case.names = case.names[: self.options.max_objects]

    def _wants_retry(self, case: Case) -> bool:
        """Whether the answer is still a refusal that cannot stand; options are chosen without words."""
        assert case.said is not None
        return case.said.missing is not None and not case.request.options

    # asking

    def _ask(self, cases: Sequence[Case], kind: StepKind) -> None:
        """Ask in words, all at once; the answer with options is chosen later."""
        if kind != "fast":
            cases = [case for case in cases if not case.request.options]
        if not cases:
            return
        objects = self._objects(cases) if kind == "slow" else [[] for _ in cases]
        samples = [
            focus_sample(case.picture, case.request.question, own, layout=self.options.layout)
            for case, own in zip(cases, objects, strict=True)
        ]
        with Meter([self.switch]) as meter:
            answers = ask_samples(
                self.switch,
                samples,
                is_strict=self.options.is_strict,
                may_refuse=kind != "retry",
                max_new_tokens=self.options.max_new_tokens,
            )
        share = meter.reading.share(len(cases))
        for case, sample, said in zip(cases, samples, answers, strict=True):
            case.said = said
            read = said.num_prompt_tokens + max(said.num_new_tokens - 1, 0)
            detail = {
                "confidence": said.confidence,
                "prompt_tokens": said.num_prompt_tokens,
                "new_tokens": said.num_new_tokens,
                "asked_together": len(cases),
            }
            step = Step(
                kind=kind, prompt=words_of(sample), said=said.text, cost=replace(share, lm_tokens=read), detail=detail
            )
            case.trace.steps.append(step)

    def _choose(self, cases: Sequence[Case]) -> None:
        """Choose the likeliest option, with the evidence where there is some."""
        informed = [case for case in cases if case.mode == "slow"]
        shown = {id(case): own for case, own in zip(informed, self._objects(informed), strict=True)}
        for case in cases:
            objects = shown.get(id(case), [])
            layout = self.options.layout
            request = case.request
            with Meter([self.switch]) as meter:
                chosen = choose(
                    self.switch, case.picture, request.question, request.options, objects=objects, layout=layout
                )
            case.is_low = case.is_low or (not objects and case.said is not None and case.said.missing is not None)
            case.said = chosen
            detail = {"losses_nats": list(chosen.losses), "confidence": chosen.confidence}
            prompt = words_of(focus_sample(case.picture, request.question, objects, layout=layout))
            case.trace.steps.append(
                Step(
                    kind="slow" if objects else "fast",
                    prompt=prompt,
                    said=chosen.text,
                    cost=meter.reading,
                    detail=detail,
                )
            )

    def _objects(self, cases: Sequence[Case]) -> list[list[FocusObject]]:
        """Return what each question is shown, as it was found or as an audit alters it."""
        shown: Sequence[Sequence[Shown]] = [[self._shown(case, one) for one in case.found] for case in cases]
        if self.alter is not None and cases:
            shown = self.alter(shown)
        return [[FocusObject(one.name, one.box, one.crop, one.text) for one in own] for own in shown]

    def _shown(self, case: Case, one: Evidence) -> Shown:
        assert one.box is not None
        crop = (
            dimmed_crop(case.picture, one.name, one.box, one.mask)
            if self.options.dims_outside and one.mask is not None
            else undimmed_crop(case.picture, one.name, one.box)
        )
        return Shown(
            name=one.name,
            text=location_text(one.box),
            crop=crop,
            box=one.box,
            region=one.region or one.box,
            mask=one.mask,
            picture=case.picture,
        )

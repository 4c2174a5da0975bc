"""Thinking fast and slow: answer at a glance, or look for what is missing and answer with the evidence (FaST).

    agent = FastSlow(model)                                     # one model with switch, search and seg
    agent = FastSlow(switch, proposer={"type": "vstar", "model": searcher}, segmenter=lisa)
    answer = agent.answer(image, "What colour is the flag?")
    answer.text, answer.mode, answer.evidence, answer.trace.to_html()

Source: FaST, arXiv:2408.08862, section 3; its authors never released this pipeline. Where the paper is silent it does
as SEAL (V*, arXiv:2312.14135, section 3 and its code) does, and what is ours is said where it stands.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from PIL import Image

from vlmzoo.agents.metering import Meter
from vlmzoo.agents.noun_chunks import question_objects
from vlmzoo.agents.proposers import PROPOSERS, PlainProposer, Proposal, ProposeCall, Proposer
from vlmzoo.agents.shown import Alter, Shown
from vlmzoo.agents.trace import Evidence, Mode, Step, StepKind, Trace, told_search
from vlmzoo.data.focus import FocusObject, Layout, crop_of, focus_sample
from vlmzoo.data.images import load_image
from vlmzoo.data.object_crops import location_text, object_crop
from vlmzoo.errors import ConfigError, DataError, VlmzooError
from vlmzoo.geometry import Box, Frame, Mask, iou
from vlmzoo.models.image_memory import remembered_images
from vlmzoo.models.segmenting import question_of as segment_question
from vlmzoo.models.segmenting import seg_adapter, segment_samples
from vlmzoo.models.switching import SwitchAnswer, ask_samples, choose
from vlmzoo.types import ImageLike, Sample, user

__all__ = ["Answer", "FastSlow", "FastSlowOptions", "Request", "dimmed_crop", "undimmed_crop"]

_CROP_SCALE = 1.2
_DIMMED = 0.35


class Request(NamedTuple):
    """A question about an image."""

    image: ImageLike
    """That is asked about."""
    question: str
    """In words."""
    options: Sequence[str] = ()
    """Answers of which the likeliest is chosen; none asks freely."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an agent answers.

    Args:
        text: the answer.
        mode: ``slow`` if it leans on evidence, else ``fast``.
        evidence: what was looked for, found or not.
        trace: how it came about.
        confidence: of the answer, within [0, 1], see ``SwitchAnswer``.
        is_low_confidence: whether the model would have refused, or the evidence that it wanted was not to be had.
        option: place of the chosen option; None where there were none.
    """

    text: str
    mode: Mode
    evidence: Sequence[Evidence]
    trace: Trace
    confidence: float
    is_low_confidence: bool = False
    option: int | None = None


@dataclass(frozen=True, kw_only=True)
class FastSlowOptions:
    """How an agent decides, looks and answers; the defaults decide as SEAL does.

    Args:
        decide: ``auto`` looks where the model refuses, ``fast`` never, ``slow`` always.
        tau_fast: an answer less confident than this is looked for, too; None asks the refusal alone. ``calibrated_tau``
            chooses it.
        max_objects: that are looked for in one round.
        max_rounds: of looking; another one looks for what the second refusal names.
        layout: of the forms of image and objects, see ``forms_of``.
        is_strict: whether a refusal must be the authors' words to the letter.
        min_mask_area_px: a smaller mask does not tighten a box.
        min_mask_overlap: IoU that the box of a mask must have with what was proposed, to replace it.
        dims_outside: whether crops are darkened outside of the masks.
        time_budget_s: for a question; what was found until then is answered with. None for no limit.
        proposer_timeout_s: for one object; None for no limit but that of the budget. A proposer that is late goes on in
            a thread of its own, and what it finds is thrown away.
        max_new_tokens: limit of an answer.
        batch_size: questions that are asked at once.
        noun_chunks: the objects of a question, where no refusal names any.

    Raises:
        ConfigError: if an option is out of range.
    """

    decide: Literal["auto", "fast", "slow"] = "auto"
    tau_fast: float | None = None
    max_objects: int = 4
    max_rounds: int = 1
    layout: Layout = "seal"
    is_strict: bool = False
    min_mask_area_px: int = 16
    min_mask_overlap: float = 0.1
    dims_outside: bool = False
    time_budget_s: float | None = None
    proposer_timeout_s: float | None = None
    max_new_tokens: int = 200
    batch_size: int = 16
    noun_chunks: Callable[[str], Sequence[str]] = field(default=question_objects)

    def __post_init__(self) -> None:
        """Check the options."""
        if self.decide not in ("auto", "fast", "slow"):
            raise ConfigError(f"`decide` must be auto, fast or slow, but is {self.decide!r} instead.")
        for name in ("tau_fast", "min_mask_overlap"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"`{name}` must lie within [0, 1], but is {value} instead.")
        for name in ("max_objects", "max_rounds", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1, but is {getattr(self, name)} instead.")
        for name in ("time_budget_s", "proposer_timeout_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"`{name}` must be positive, or None for no limit, but is {value} instead.")


@dataclass(kw_only=True)
class _Case:
    """A question on its way."""

    request: Request
    picture: Image.Image
    trace: Trace
    started: float
    names: list[str] = field(default_factory=list)  # to look for in this round
    asked: set[str] = field(default_factory=set)  # looked for already
    said: SwitchAnswer | None = None  # the latest answer
    mode: Mode = "fast"
    is_low: bool = False
    is_over: bool = False

    @property
    def found(self) -> list[Evidence]:
        return [one for one in self.trace.evidence if one.is_found]


class FastSlow:
    """Answers questions with one model or several.

    Args:
        switch: a model that answers or refuses; any of ours, best with the adapter ``switch``.
        proposer: ``vstar``, ``cos``, ``{type: …}``, a ``Proposer``, or a callable ``(image, question, name)``. None
            takes ``vstar`` or ``cos`` if the switch has the adapter for it. A spec may name its own ``model``.
        segmenter: a model with the seg adapter, which tightens boxes; None takes the switch if it has one.
        options: how it decides, looks and answers.

    Attributes:
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
        self.proposer = _proposer_of(proposer, switch)
        own = switch if _has_input(switch, "seg_pixels") else None
        self.segmenter = segmenter if segmenter is not None else own
        if self.segmenter is not None:
            seg_adapter(self.segmenter)
        self.models = [switch, *(self.proposer.models if self.proposer else ())]
        self.models += [self.segmenter] if self.segmenter is not None else []

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
                cases = [_case_of(request, pictures) for request in requests[start : start + size]]
                self._run(cases)
                answers += [_answer_of(case) for case in cases]
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

    def _run(self, cases: Sequence[_Case]) -> None:
        self._ask(cases, "fast")
        for case in cases:
            self._decide(case)
        for number in range(self.options.max_rounds):
            active = [case for case in cases if case.names]
            if not active:
                break
            for case in active:
                self._look(case)
            self._segment([case for case in active if case.found])
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

    def _decide(self, case: _Case) -> None:
        """Name what is to be looked for; nothing if the answer stands."""
        assert case.said is not None
        missing, decide, tau = case.said.missing, self.options.decide, self.options.tau_fast
        is_unsure = missing is not None or (tau is not None and case.said.confidence < tau)
        if decide == "fast" or not (is_unsure or decide == "slow"):
            case.trace.stopped_by = "fast_only" if decide == "fast" and is_unsure else "answered"
            return
        names = missing or self.options.noun_chunks(case.request.question) or [case.request.question.rstrip("?. ")]
        case.names = list(names)[: self.options.max_objects]

    def _go_on(self, case: _Case, *, is_last: bool) -> None:
        """After an answer with evidence: look for what it still misses, if there is a round left."""
        assert case.said is not None
        if case.said.missing is None or is_last or case.trace.stopped_by == "time_budget":
            return
        case.names = [name for name in case.said.missing if name.casefold() not in case.asked]
        case.names = case.names[: self.options.max_objects]

    def _wants_retry(self, case: _Case) -> bool:
        """Whether the answer is still a refusal that cannot stand; options are chosen without words."""
        assert case.said is not None
        return case.said.missing is not None and not case.request.options

    # asking

    def _ask(self, cases: Sequence[_Case], kind: StepKind) -> None:
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
                kind=kind, prompt=_words(sample), said=said.text, cost=replace(share, lm_tokens=read), detail=detail
            )
            case.trace.steps.append(step)

    def _choose(self, cases: Sequence[_Case]) -> None:
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
            prompt = _words(focus_sample(case.picture, request.question, objects, layout=layout))
            case.trace.steps.append(
                Step(
                    kind="slow" if objects else "fast",
                    prompt=prompt,
                    said=chosen.text,
                    cost=meter.reading,
                    detail=detail,
                )
            )

    def _objects(self, cases: Sequence[_Case]) -> list[list[FocusObject]]:
        """Return what each question is shown, as it was found or as an audit alters it."""
        shown: Sequence[Sequence[Shown]] = [[self._shown(case, one) for one in case.found] for case in cases]
        if self.alter is not None and cases:
            shown = self.alter(shown)
        return [[FocusObject(one.name, one.box, one.crop, one.text) for one in own] for own in shown]

    def _shown(self, case: _Case, one: Evidence) -> Shown:
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

    # looking

    def _look(self, case: _Case) -> None:
        """Look for each name of this round."""
        for name in case.names:
            case.asked.add(name.casefold())
            left = self._time_left(case)
            if left is not None and left <= 0:
                case.trace.stopped_by = "time_budget"
                case.trace.evidence.append(Evidence(name=name, fault="the time was up before it was looked for"))
                continue
            with Meter(self.proposer.models if self.proposer else ()) as meter:
                proposal, fault = self._propose(case, name, left)
            boxes: list[Box] = []
            if not fault:
                try:
                    boxes = [_usable(box, case.trace.frame) for box in proposal.boxes]
                except (VlmzooError, AttributeError, TypeError) as error:
                    fault = f"the proposer gave no box of this image: {error}"
            detail = {} if proposal.search is None else {"search": told_search(proposal.search)}
            case.trace.steps.append(
                Step(kind="propose", name=name, said=proposal.said, fault=fault, cost=meter.reading, detail=detail)
            )
            told = fault or ("" if boxes else "it was not found")
            case.trace.evidence += [
                Evidence(name=name, box=box, probability=proposal.probability, region=box, said=proposal.said)
                for box in boxes
            ] or [Evidence(name=name, probability=proposal.probability, said=proposal.said, fault=told)]

    def _propose(self, case: _Case, name: str, left_s: float | None) -> tuple[Proposal, str]:
        """Ask the proposer; return what it found, and what went wrong."""
        if self.proposer is None:
            return Proposal(), "there is no proposer that could look for it"
        limit = self.options.proposer_timeout_s
        left = min(value for value in (left_s, limit, float("inf")) if value is not None)
        time_left_s = None if left == float("inf") else 0.8 * left  # who minds it stops by itself, with what it has
        proposer, question = self.proposer, case.request.question
        try:
            if limit is None:
                return proposer.propose(case.picture, question, name, time_left_s=time_left_s), ""
            return _in_time(
                lambda: proposer.propose(case.picture, question, name, time_left_s=time_left_s), timeout_s=left
            ), ""
        except _LateError:
            return Proposal(), f"the proposer took longer than {left:g} s"
        except Exception as error:  # whoever proposes may be anybody's code; the question is answered all the same
            return Proposal(), f"the proposer raised {type(error).__name__}: {error}"

    def _time_left(self, case: _Case) -> float | None:
        if self.options.time_budget_s is None:
            return None
        return self.options.time_budget_s - (time.monotonic() - case.started)

    # segmenting

    def _segment(self, cases: Sequence[_Case]) -> None:
        """Segment what was found in this round, all of it in one batch, and tighten boxes."""
        if self.segmenter is None:
            return
        wanted = [
            (case, place)
            for case in cases
            for place, one in enumerate(case.trace.evidence)
            if one.is_found and one.mask is None and not one.fault and one.name.casefold() in case.asked
        ]
        wanted = [(case, place) for case, place in wanted if case.trace.evidence[place].name in case.names]
        if not wanted:
            return
        frames = [_crop_frame(case.trace.evidence[place].box, case.trace.frame) for case, place in wanted]
        samples = [
            Sample(
                messages=[user(segment_question(case.trace.evidence[place].name), num_images=1)],
                images=[case.picture.crop(_edges(frame, case.trace.frame))],
                id=str(number),
            )
            for number, ((case, place), frame) in enumerate(zip(wanted, frames, strict=True))
        ]
        with Meter([self.segmenter]) as meter:
            answers = segment_samples(self.segmenter, samples)
        share = meter.reading.share(len(wanted))
        for (case, place), frame, sample, said in zip(wanted, frames, samples, answers, strict=True):
            one = case.trace.evidence[place]
            mask = Mask(said[0].array, frame=frame).to(case.trace.frame) if said else None
            tightened, fault = self._tightened(one, mask)
            case.trace.evidence[place] = tightened
            case.trace.steps.append(
                Step(
                    kind="segment",
                    name=one.name,
                    prompt=_words(sample),
                    said=said.text,
                    fault=said.reason or fault,
                    cost=share,
                )
            )

    def _tightened(self, one: Evidence, mask: Mask | None) -> tuple[Evidence, str]:
        """Return evidence with its mask, and its box tightened where the mask can be believed; else why not."""
        box = None if mask is None else mask.box()
        if mask is None or box is None or one.box is None:
            return one, "" if mask is None else "the mask is empty"
        if mask.area < self.options.min_mask_area_px:
            return one, f"the mask has only {mask.area} pixels"
        overlap = iou(box, one.box)
        if overlap < self.options.min_mask_overlap:
            return one, f"the mask lies elsewhere: IoU {overlap:.2f} with what was proposed"
        return replace(one, box=box, mask=mask), ""


class _LateError(Exception):
    """Something took too long."""


def _in_time(call: Callable[[], Proposal], *, timeout_s: float) -> Proposal:
    """Call something in a thread of its own, and wait so long.

    Raises:
        _LateError: if it is not done by then; the thread goes on, and ends with the process.
    """
    done: list[Proposal] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            done.append(call())
        except BaseException as error:  # it is raised again by whoever waits
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True, name="proposer")
    thread.start()
    thread.join(timeout_s)
    if raised:
        raise raised[0]
    if not done:
        raise _LateError
    return done[0]


def _proposer_of(spec: Any, switch: Any) -> Proposer | None:
    if spec is None:
        if _has_input(switch, "search_pixels"):
            return PROPOSERS.build({"type": "vstar"}, model=switch)
        if any(type(adapter).__name__ == "RoiAdapter" for adapter in switch.attached.values()):
            return PROPOSERS.build({"type": "cos"}, model=switch)
        return None
    if isinstance(spec, str):
        spec = {"type": spec}
    if isinstance(spec, Mapping):
        arguments = dict(spec)
        model = arguments.pop("model", switch)
        return PROPOSERS.build(arguments, model=model)
    if isinstance(spec, Proposer):
        return spec
    if callable(spec):
        return PlainProposer(cast(ProposeCall, spec))
    raise ConfigError(
        f"`proposer` must be a name, a `{{type: …}}` mapping, a `Proposer` or a callable, but is {spec!r} instead."
    )


def _has_input(model: Any, name: str) -> bool:
    return any(name in adapter.input_names for adapter in model.attached.values())


def _case_of(request: Request, pictures: dict[Any, Image.Image]) -> _Case:
    request = Request(*request)
    if not request.question.strip():
        raise DataError("A question must be in words, but is empty.")
    image = request.image
    key = id(image) if isinstance(image, Image.Image) else str(image)
    if key not in pictures:
        pictures[key] = load_image(image)
    picture = pictures[key]
    name = "image" if isinstance(image, Image.Image) else str(image)
    frame = Frame.original(name, width=picture.width, height=picture.height)
    trace = Trace(question=request.question, frame=frame, options=tuple(request.options), picture=picture)
    return _Case(request=request, picture=picture, trace=trace, started=time.monotonic())


def _answer_of(case: _Case) -> Answer:
    assert case.said is not None
    return Answer(
        text=case.said.text,
        mode=case.mode,
        evidence=tuple(case.trace.evidence),
        trace=case.trace,
        confidence=case.said.confidence,
        is_low_confidence=case.is_low,
        option=case.said.option,
    )


def _usable(box: Box, frame: Frame) -> Box:
    """Return a box in the frame of the image, inside of it.

    Raises:
        DataError: if it holds no pixel of it.
        FrameError: if it is of another image.
    """
    own = box.frame
    if own.image != frame.image and (own.x.original, own.y.original) == (frame.width, frame.height):
        there = Frame.original(own.image, width=frame.width, height=frame.height)
        box = Box.from_xyxy(box.to(there).xyxy, frame=frame)  # proposers call images as they like
    inside = box.to(frame).clipped()
    if inside.area <= 0:
        raise DataError(f"{box} holds no pixel of the image")
    return inside


def _crop_frame(box: Box | None, frame: Frame) -> Frame:
    """Return the frame of the pixels around a box, enlarged as the crops of evidence are."""
    assert box is not None
    x0, y0, x1, y1 = object_crop(box, scale=_CROP_SCALE).xyxy
    return frame.cropped(Box.from_xyxy((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)), frame=frame))


def _edges(crop: Frame, frame: Frame) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (int(edge) for edge in Box.whole(crop).to(frame).rounded().xyxy)
    return x0, y0, x1, y1


def undimmed_crop(picture: Image.Image, name: str, box: Box) -> Image.Image:
    """Return the pixels around an object, as evidence shows them."""
    return crop_of(picture, FocusObject(name, box), scale=_CROP_SCALE)


def dimmed_crop(picture: Image.Image, name: str, box: Box, mask: Mask) -> Image.Image:
    """Return the pixels around an object, darker where it is not the object."""
    pixels = np.asarray(picture, dtype=np.float32)
    shade = np.where(mask.array[..., None], 1.0, _DIMMED)
    return undimmed_crop(Image.fromarray((pixels * shade).astype(np.uint8)), name, box)


def _words(sample: Sample) -> str:
    """Return what is asked, with a mark for each image."""
    blocks = sample.messages[-1]["content"]
    if isinstance(blocks, str):
        return blocks
    return "".join("<image>" if block["type"] == "image" else str(block["text"]) for block in blocks)

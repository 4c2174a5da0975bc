"""Asking a proposer where something is, whatever it does: it may raise, be late, or tell of another image."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from vlmzoo.agents.cases import Case
from vlmzoo.agents.fast_slow_options import FastSlowOptions
from vlmzoo.agents.metering import Meter
from vlmzoo.agents.proposers import PROPOSERS, PlainProposer, Proposal, ProposeCall, Proposer
from vlmzoo.agents.trace import Evidence, Step, told_search
from vlmzoo.errors import ConfigError, DataError, VlmzooError
from vlmzoo.geometry import Box, Frame

__all__ = ["EvidenceFinder", "proposer_of"]


class EvidenceFinder:
    """Looks for what a question misses, and writes down what came of it.

    Args:
        proposer: says where something may be; None finds nothing, and says so.
        options: the agent's: limits of time.
    """

    def __init__(self, proposer: Proposer | None, options: FastSlowOptions) -> None:
        self.proposer = proposer
        self.options = options

    def find(self, case: Case) -> None:
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

    def _propose(self, case: Case, name: str, left_s: float | None) -> tuple[Proposal, str]:
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

    def _time_left(self, case: Case) -> float | None:
        if self.options.time_budget_s is None:
            return None
        return self.options.time_budget_s - (time.monotonic() - case.started)


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


def proposer_of(spec: Any, switch: Any) -> Proposer | None:
    """Return a proposer of any way to name one; None takes what the switch's adapters can do, if anything.

    Raises:
        ConfigError: if it is none, there is no such proposer, or its model lacks the adapter.
    """
    if spec is None:
        if any("search_pixels" in adapter.input_names for adapter in switch.attached.values()):
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

"""V*Bench: questions about small things in large pictures, answered at a glance or after a search."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from vlmzoo.agents.fast_slow import Answer, FastSlow, FastSlowOptions, Request
from vlmzoo.data.conversations import text_of
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, Expected
from vlmzoo.evaluation.benchmarks._vstar import SUBSETS, read_vstar
from vlmzoo.evaluation.records import Generation
from vlmzoo.models.further import further_model
from vlmzoo.scoring import SCORES, Score
from vlmzoo.scoring.statistics import Interval, bootstrap_interval
from vlmzoo.types import Sample, user

__all__ = ["VStarBench"]

_COSTS = ("lm_tokens", "images", "seconds")


@BENCHMARKS.register(
    "vstar_bench",
    source="V*, arXiv:2312.14135, section 5.1",
    tiny={"root": str(TINY / "vstar"), "decide": "fast", "max_new_tokens": 4},
)
@dataclass(frozen=True, kw_only=True)
class VStarBench:
    """The questions of V*Bench, asked by an agent; ``accuracy`` is the main score, then that of each subset.

    With ``protocol: options`` the option with the least mean loss is chosen, as the authors do; with ``free`` the model
    answers in words, and the option that shares most words with the answer counts.

    Args:
        root: folder with the subsets.
        subsets: folders in it.
        protocol: ``options`` or ``free``.
        decide: ``auto`` looks where the model refuses, ``fast`` never, ``slow`` always.
        proposer: what looks, ``{type: vstar}`` or ``{type: cos}`` with its options; its ``model`` is a folder or Hub
            id, and the measured model itself without one. None takes the adapter that the measured model has.
        max_new_tokens: limit of an answer in words.
        expected: ``{value: …, source: …}``, what a paper reports.

    Raises:
        ConfigError: if an option is unknown.
        DataError: if a question or its picture is not there.
    """

    root: str
    subsets: Sequence[str] = SUBSETS
    protocol: Literal["options", "free"] = "options"
    decide: Literal["auto", "fast", "slow"] = "auto"
    proposer: Mapping[str, Any] | None = None
    max_new_tokens: int = 200
    expected: Expected | None = None
    _rows: Any = field(init=False, repr=False, compare=False)
    _agents: dict[int, FastSlow] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Read the questions."""
        if self.protocol not in ("options", "free"):
            raise ConfigError(f"`protocol` must be options or free, but is {self.protocol!r} instead.")
        FastSlowOptions(decide=self.decide, max_new_tokens=self.max_new_tokens)
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        object.__setattr__(self, "_rows", read_vstar(self.root, self.subsets))

    @property
    def identity(self) -> Mapping[str, Any]:
        """All but where the set lies."""
        return {
            "type": "vstar_bench",
            "subsets": list(self.subsets),
            "protocol": self.protocol,
            "decide": self.decide,
            "proposer": None if self.proposer is None else dict(self.proposer),
            "max_new_tokens": self.max_new_tokens,
        }

    @property
    def num_questions(self) -> int:
        """How many questions there are."""
        return len(self._rows)

    @property
    def scores(self) -> Mapping[str, Score]:
        """What judges an answer in words."""
        return {"accuracy": SCORES.build({"type": "nearest_option"})}

    def questions(self) -> Iterator[Sample]:
        """Return one question after the other; ``reference`` holds the options and the number of the right one."""
        for row in self._rows:
            yield Sample(
                messages=[user(row.question, num_images=1)],
                images=[row.image],
                id=row.id,
                reference={"options": list(row.options), "answer": 0},
                meta={"subset": row.subset, "targets": list(row.targets)},
            )

    def answer(self, model: Any, processor: Any, samples: Sequence[Sample]) -> Iterator[Generation]:
        """Answer and score questions; ``meta`` tells mode, cost and what was looked for."""
        agent = self._agent(model)
        requests = [
            Request(
                sample.images[0],
                sample.messages[-1]["content"][-1]["text"],
                tuple(sample.reference["options"]) if self.protocol == "options" else (),
            )
            for sample in samples
        ]
        for sample, answer in zip(samples, agent.answer_all(requests), strict=True):
            right = float(answer.option == 0) if self.protocol == "options" else self._judged(answer.text, sample)
            yield _generation(sample, answer, right)

    def summarise(self, generations: Sequence[Generation], *, seed: int) -> Mapping[str, Interval]:
        """Return accuracies and mean costs, with intervals over questions."""
        names = list(dict.fromkeys(name for one in generations for name in one.scores))
        names.sort(key=lambda name: name != "accuracy")
        return {
            name: bootstrap_interval([one.scores[name] for one in generations if name in one.scores], seed=seed)
            for name in names
        }

    def _judged(self, text: str, sample: Sample) -> float:
        return self.scores["accuracy"](text, sample.reference)

    def _agent(self, model: Any) -> FastSlow:
        if id(model) not in self._agents:
            options = FastSlowOptions(decide=self.decide, max_new_tokens=self.max_new_tokens)
            proposer = None if self.proposer is None else dict(self.proposer)
            if proposer is not None and "model" in proposer:
                proposer["model"] = further_model(proposer["model"], beside=model)
            self._agents.clear()
            self._agents[id(model)] = FastSlow(model, proposer=proposer, options=options)
        return self._agents[id(model)]


def _generation(sample: Sample, answer: Answer, right: float) -> Generation:
    cost = answer.trace.cost.to_dict()
    glance = answer.trace.steps[0].detail
    return Generation(
        id=sample.id,
        prompt=text_of(sample.messages),
        completion=answer.text,
        reference=sample.reference,
        scores={
            "accuracy": right,
            sample.meta["subset"]: right,
            "is_slow": float(answer.mode == "slow"),
            **{name: cost[name] for name in _COSTS},
        },
        num_prompt_tokens=int(glance.get("prompt_tokens", 0)),
        num_completion_tokens=int(glance.get("new_tokens", 0)),
        finished=True,
        meta={**sample.meta, "mode": answer.mode, "evidence": [one.to_dict() for one in answer.evidence]},
    )

"""Rewards of completions: scores with weights, watched so that none can stop a run or spoil a gradient unseen.

Letters: N completions, F rewards.
"""

import logging
import math
import queue
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.scoring import SCORES
from vlmzoo.services.judged_reward import JudgedReward
from vlmzoo.services.judges import JUDGES, JudgeItem

__all__ = ["RewardBench", "Rewarded", "check_rewards"]

logger = logging.getLogger(__name__)

_MAX_HANGS = 8  # each leaves a thread behind


@dataclass(frozen=True, kw_only=True)
class Rewarded:
    """What completions earned.

    Args:
        totals: weighted sums, N of them; NaN where a judge that counts gave no score.
        values: of each reward by name, N of each; NaN where a judge gave none.
        faults: how often which reward failed: ``errors/NAME``, ``timeouts/NAME``, ``nonfinite/NAME``,
            ``unjudged/NAME``.
    """

    totals: list[float]
    values: dict[str, list[float]]
    faults: Mapping[str, int]


class RewardBench:
    """Scores completions by several rewards.

    A reward that raises, hangs or returns no finite number is worth 0 for that completion, is counted and is told in
    the log; scores of this library run in this thread, functions of others in one of their own. What a judge could not
    judge is not worth 0: it has no reward, and is counted.

    Args:
        rewards: ``{type: name, weight: 1.0, name: label, …}`` for the score registry; a weight of 0 only watches.
            ``{type: judge, judge: {type: name, …}, scale: 0.1, ledger: {…}}`` asks a judge, as :class:`JudgedReward`
            does.
        timeout_s: how long one call of another's function may take.
        strict: whether a fault ends the run instead.

    Raises:
        ConfigError: if there is none, two have the same name, or a weight is no number.
    """

    def __init__(self, rewards: Sequence[Mapping[str, Any]], *, timeout_s: float = 10.0, strict: bool = False) -> None:
        if not rewards:
            raise ConfigError("`rewards` must name at least one reward, but is empty.")
        if not timeout_s > 0:
            raise ConfigError(f"`reward_timeout_s` must be positive, but is {timeout_s} instead.")
        self.weights: dict[str, float] = {}
        self._calls: dict[str, Callable[[str, Any], float]] = {}
        self._judges: dict[str, JudgedReward] = {}
        self.strict = strict
        for spec in rewards:
            name, weight = str(spec.get("name", spec.get("type"))), spec.get("weight", 1.0)
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
                raise ConfigError(f"`weight` of the reward `{name}` must be a number, but is {weight!r} instead.")
            if name in self.weights:
                raise ConfigError(f"Two rewards are called `{name}`; give one of them a `name` of its own.")
            self.weights[name] = float(weight)
            if spec.get("type") == "judge":
                self._judges[name] = _judged_reward(spec)
                continue
            score = SCORES.build({key: value for key, value in spec.items() if key not in ("name", "weight")})
            is_ours = type(score).__module__.startswith("vlmzoo.") and spec.get("type") != "python"
            self._calls[name] = score if is_ours else _Watched(score, name, timeout_s)

    @property
    def has_judge(self) -> bool:
        """Whether a judge is among the rewards."""
        return bool(self._judges)

    def __call__(self, completions: Sequence[tuple[str, Any, str] | tuple[str, Any, str, str]]) -> Rewarded:
        """Score N completions.

        Args:
            completions: text, reference, the name of the sample for messages, and for judges what was asked.

        Raises:
            DataError: for a fault, if the bench is strict; or if one function has hung eight times.
        """
        faults: Counter[str] = Counter()
        values = {
            name: self._judged(name, completions, faults)
            if name in self._judges
            else [self._one(name, self._calls[name], one[:3], faults) for one in completions]
            for name in self.weights
        }
        totals = [
            math.fsum(self.weights[name] * own[place] for name, own in values.items() if self.weights[name])
            for place in range(len(completions))
        ]
        return Rewarded(totals=totals, values=values, faults=dict(faults))

    def _judged(self, name: str, completions: Sequence[tuple[Any, ...]], faults: Counter[str]) -> list[float]:
        items = [
            JudgeItem(question="".join(question), response=text, reference=str(reference))
            for text, reference, _, *question in completions
        ]
        values: list[float] = []
        for (value, reason), (_, _, sample, *_) in zip(self._judges[name](items), completions, strict=True):
            if value is None:
                sentence = f"The judge `{name}` gave no score for a completion of sample `{sample}` ({reason})"
                if self.strict:
                    raise DataError(f"{sentence}; every completion must have one.")
                logger.warning("%s; it has no reward.", sentence)
                faults[f"unjudged/{name}"] += 1
            values.append(math.nan if value is None else value)
        return values

    def _one(
        self, name: str, call: Callable[[str, Any], float], completion: tuple[str, Any, str], faults: Counter[str]
    ) -> float:
        text, reference, sample = completion
        kind = "nonfinite"
        try:
            value = float(call(text, reference))
            what = f"returned {value}"
        except _HangsError:
            raise
        except TimeoutError as error:
            value, kind, what = math.nan, "timeouts", str(error)
        except Exception as error:  # whatever another's function may raise
            value, kind, what = math.nan, "errors", f"raised {error!r}"
        if math.isfinite(value):
            return value
        sentence = f"The reward `{name}` {what} for a completion of sample `{sample}`"
        if self.strict:
            raise DataError(f"{sentence}; it must return a finite number.")
        logger.warning("%s; it counts as 0.", sentence)
        faults[f"{kind}/{name}"] += 1
        return 0.0


def check_rewards(rewards: Sequence[Mapping[str, Any]]) -> None:
    """Check the specs of rewards by name, building nothing and asking no judge.

    Raises:
        ConfigError: if one has arguments that it does not take.
        RegistryError: if there is no such score or judge.
    """
    for spec in rewards:
        if not isinstance(spec, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"`rewards` must be a list of `{{type: name, …}}`, but holds {spec!r} instead.")
        if spec.get("type") == "judge":
            JUDGES.check(spec.get("judge", {}))
        else:
            SCORES.check({key: value for key, value in spec.items() if key not in ("name", "weight")})


def _judged_reward(spec: Mapping[str, Any]) -> JudgedReward:
    options = {key: value for key, value in spec.items() if key not in ("type", "name", "weight")}
    try:
        return JudgedReward(**options)
    except TypeError as error:
        raise ConfigError(
            f"A reward of the type judge takes judge, scale and ledger, but is {options}: {error}."
        ) from error


class _HangsError(DataError):
    """A function hangs again and again."""


class _Watched:
    """Calls a function in a thread of its own, and leaves it behind if it takes too long."""

    def __init__(self, call: Callable[[str, Any], float], name: str, timeout_s: float) -> None:
        self.call, self.name, self.timeout_s = call, name, timeout_s
        self.num_hangs = 0
        self._tasks: queue.SimpleQueue[Any] | None = None

    def __call__(self, text: str, reference: Any) -> float:
        """Call it.

        Raises:
            TimeoutError: if it takes too long.
            DataError: if it has done so too often.
        """
        if self._tasks is None:
            self._tasks = queue.SimpleQueue()
            threading.Thread(target=_work, args=(self.call, self._tasks), daemon=True).start()
        results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._tasks.put((text, reference, results))
        try:
            is_error, found = results.get(timeout=self.timeout_s)
        except queue.Empty:
            self._tasks = None
            self.num_hangs += 1
            if self.num_hangs >= _MAX_HANGS:
                raise _HangsError(
                    f"The reward `{self.name}` has taken more than {self.timeout_s} s for {_MAX_HANGS} completions; "
                    "mend it, or raise `reward_timeout_s`."
                ) from None
            raise TimeoutError(f"took more than {self.timeout_s} s") from None
        if is_error:
            raise found
        return found


def _work(call: Callable[[str, Any], float], tasks: "queue.SimpleQueue[Any]") -> None:
    while True:
        text, reference, results = tasks.get()
        try:
            results.put((False, call(text, reference)))
        except Exception as error:  # carried to the thread that asked
            results.put((True, error))

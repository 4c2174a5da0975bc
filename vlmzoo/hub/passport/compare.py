"""Comparing two passports: what departs first, in the order in which a model works."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from vlmzoo.hub.passport.digests import row_digest

__all__ = ["LAYER_TOLERANCE", "LOGIT_TOLERANCE", "PIXEL_TOLERANCE", "Departure", "PassportReport", "compare_passports"]

Facts = Mapping[str, Any]

PIXEL_TOLERANCE = 0.02
"""Of normalised pixels: about one grey level, by which implementations of resizing differ."""
LAYER_TOLERANCE = 0.01
"""Of a layer's numbers, as a share of their root mean square: many times what rounding leaves in float32."""
LOGIT_TOLERANCE = 0.02
"""Of logits, and of the lead that a greedy token must have to be compared."""


@dataclass(frozen=True, kw_only=True)
class Departure:
    """One thing that is not as the passport says.

    Args:
        stage: ``configuration``, ``tokenizer``, ``processor``, ``tensors``, ``layers``, ``logits`` or ``tokens``.
        place: the field, row, step, tensor or layer.
        expected: as the passport has it.
        found: as it is.
    """

    stage: str
    place: str
    expected: Any
    found: Any

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.stage}: {self.place} must be {_short(self.expected)}, but is {_short(self.found)} instead"


@dataclass(frozen=True, kw_only=True)
class PassportReport:
    """What came of replaying a passport.

    Args:
        about: which model, in words.
        checked: how many facts of each stage were compared.
        departures: what departs, in the order in which a model works; empty where all is as it was.
        note: what was left out, and why; a sentence, or nothing.
    """

    about: str
    checked: Mapping[str, int]
    departures: tuple[Departure, ...] = ()
    note: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether nothing departs."""
        return not self.departures

    def __str__(self) -> str:
        """Return what ``vlmzoo verify`` prints: the counts, then the first departure of each stage."""
        counts = ", ".join(f"{number} {stage}" for stage, number in self.checked.items())
        lines = [f"{self.about}: {counts}", *([self.note] if self.note else [])]
        for stage in dict.fromkeys(departure.stage for departure in self.departures):
            own = [departure for departure in self.departures if departure.stage == stage]
            lines.append(f"{own[0]}" + (f" (and {len(own) - 1} more)" if len(own) > 1 else ""))
        return "\n".join([*lines, f"{len(self.departures)} departures" if self.departures else "all as it was"])


def compare_passports(expected: Facts, found: Facts) -> PassportReport:
    """Compare what is with what a passport says.

    Fields that only one of two versions of transformers knows are passed over; the same version must know the same.

    Args:
        expected: the passport.
        found: the same facts, made now.
    """
    is_same = expected["versions"]["transformers"] == found["versions"]["transformers"]
    departures: list[Departure] = []
    checked: dict[str, int] = {}
    for stage, compare in _STAGES.items():
        section = _SECTIONS.get(stage, stage)
        if section in expected and section in found:
            number, own = compare(expected[section], found[section], is_same)
            checked[stage] = number
            departures += [Departure(stage=stage, place=p, expected=e, found=f) for p, e, f in own]
    gone = "" if is_same else f"made with transformers {expected['versions']['transformers']}; new and lost fields pass"
    return PassportReport(about=expected["about"], checked=checked, departures=tuple(departures), note=gone)


Found = tuple[int, list[tuple[str, Any, Any]]]
_MISSING = "missing"


def _fields(expected: Facts, found: Facts, is_same: bool) -> Found:
    names = [*expected, *(name for name in found if name not in expected)] if is_same else list(expected)
    compared = [name for name in names if is_same or name in found]
    own = [(f"`{name}`", expected.get(name, _MISSING), found.get(name, _MISSING)) for name in compared]
    return len(compared), [row for row in own if row[1] != row[2]]


def _tensors(expected: Facts, found: Facts, is_same: bool) -> Found:
    number, own = _fields(expected["stored"], found["stored"], True)
    computed, rest = _summaries(expected["computed"], found["computed"], LAYER_TOLERANCE / 100, is_same)
    return number + computed, own + rest


def _summaries(expected: Facts, found: Facts, share: float, is_same: bool) -> Found:
    """Compare summaries (shape, mean, root mean square, values) by name."""
    own: list[tuple[str, Any, Any]] = []
    names = [name for name in expected if is_same or name in found]
    for name in names:
        there = found.get(name)
        if there is None or expected[name][0] != there[0] or not _near(expected[name][1:], there[1:], share=share):
            own.append((f"`{name}`", expected[name], there or _MISSING))
    return len(names), own


def _near(expected: Sequence[float], found: Sequence[float], *, share: float = 0.0, least: float = 1e-6) -> bool:
    scale = max(least, share * (expected[1] if len(expected) > 1 else 1.0))  # the second is the root mean square
    return len(expected) == len(found) and all(abs(a - b) <= scale for a, b in zip(expected, found, strict=True))


def _tokenizer(expected: Facts, found: Facts, is_same: bool) -> Found:
    rows, there = (_rows(facts["rows"]) for facts in (expected, found))
    own = [_row(place, rows, there) for place in range(max(len(rows), len(there))) if _differs(place, rows, there)]
    _, special = _fields(expected["special"], found["special"], is_same)
    own += special
    if expected["merges"] != found["merges"]:
        own.append(("the list of merges", expected["merges"], found["merges"]))
    for number, (ids, ids_now) in enumerate(zip_longest(expected["ids"], found["ids"])):
        if ids != ids_now:
            own.append((f"the ids of built-in text {number}", ids, ids_now))
    return len(rows) + len(expected["ids"]), own


def _rows(packed: str) -> list[str]:
    width = len(row_digest(""))
    return [packed[place : place + width] for place in range(0, len(packed), width)]


def _differs(place: int, rows: Sequence[str], there: Sequence[str]) -> bool:
    return rows[place : place + 1] != there[place : place + 1]


def _row(place: int, rows: Sequence[str], there: Sequence[str]) -> tuple[str, Any, Any]:
    """Say of a row that departs where its token stands now, if it does."""
    if place >= len(there) or place >= len(rows):
        return f"row {place}", "there" if place < len(rows) else _MISSING, "there" if place < len(there) else _MISSING
    moved = next(
        (other for other, digest in enumerate(there) if digest == rows[place] != rows[other : other + 1]), None
    )
    where = f"digest {rows[place]}" + (f", whose token stands in row {moved} now" if moved is not None else "")
    return f"row {place}", where, f"digest {there[place]}"


def _processor(expected: Facts, found: Facts, is_same: bool) -> Found:
    number, own = _fields(expected["settings"], found["settings"], is_same)
    if expected["chat_template"] != found["chat_template"]:
        own.append(("the chat template", expected["chat_template"], found["chat_template"]))
    for name, steps in expected["pictures"].items():
        own += [(f"{step} of picture `{name}`", e, f) for step, e, f in _steps(steps, found["pictures"][name])]
        number += 1
    return number, own


def _steps(expected: Facts, found: Facts) -> Iterator[tuple[str, Any, Any]]:
    for name, told in expected["pictures"].items():
        there = found["pictures"].get(name, {})
        for kind in told:
            is_near = (
                _near(told[kind], there.get(kind, ()), least=PIXEL_TOLERANCE)
                if kind == "values"
                else told[kind] == there.get(kind)
            )
            if not is_near:
                yield f"{kind} of `{name}`", told[kind], there.get(kind, _MISSING)
    for step in ("num_placeholders", "text_ids", "learned_places", "adapters"):
        if expected[step] != found[step]:
            yield f"`{step}`", expected[step], found[step]


def _layers(expected: Facts, found: Facts, is_same: bool) -> Found:
    told, there = (
        {layer[0]: layer[1:] for run in facts.values() for layer in run.get("layers", ())}
        for facts in (expected, found)
    )
    return _summaries(told, there, LAYER_TOLERANCE, is_same)


def _logits(expected: Facts, found: Facts, _is_same: bool) -> Found:
    own: list[tuple[str, Any, Any]] = []
    for name, run in expected.items():
        values, there = ([value for _, value in facts["logits"]] for facts in (run, found[name]))
        ids, ids_now = (_certain(facts["logits"]) for facts in (run, found[name]))
        if not _near(values, there, least=LOGIT_TOLERANCE) or ids & ids_now != ids:
            own.append((f"the first token after picture `{name}`", run["logits"], found[name]["logits"]))
    return len(expected), own


def _certain(logits: Sequence[Sequence[Any]]) -> set[int]:
    """Return the ids that stand clear of the last one listed, so that rounding cannot push them out."""
    least = logits[-1][1] + 2 * LOGIT_TOLERANCE
    return {token for token, value in logits if value > least}


def _tokens(expected: Facts, found: Facts, _is_same: bool) -> Found:
    own: list[tuple[str, Any, Any]] = []
    number = 0
    for name, run in expected.items():
        for place, (token, margin) in enumerate(zip(run["tokens"], run["margins"], strict=True)):
            if margin < 2 * LOGIT_TOLERANCE:
                break  # two tokens as good as even: what follows may differ between machines
            number += 1
            if found[name]["tokens"][place] != token:
                own.append((f"greedy token {place} after picture `{name}`", token, found[name]["tokens"][place]))
                break
    return number, own


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


_STAGES: dict[str, Callable[[Facts, Facts, bool], Found]] = {
    "configuration": _fields,
    "shapes": _fields,
    "tokenizer": _tokenizer,
    "processor": _processor,
    "tensors": _tensors,
    "layers": _layers,
    "logits": _logits,
    "tokens": _tokens,
}
_SECTIONS = {"layers": "running", "logits": "running", "tokens": "running"}

"""Grids in words: text form, prompts, chain of thought and answer of Grid Navigation.

Source: S2H, arXiv:2501.02669, section 2 and appendix. The strings are the authors' (``prompts/s2h.yaml``).
"""

from collections.abc import Mapping
from functools import cache

from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.synthetic import Kind
from vlmzoo.data.synthetic._grid import GridInstance
from vlmzoo.data.synthetic._grid_search import MOVES, RETRACE, Neighbour, State, states_kept
from vlmzoo.data.synthetic._wording import IMAGE_PREFIX, CotStyle, kept_part

__all__ = ["COT_STYLES", "GridWording"]

COT_STYLES: tuple[CotStyle, ...] = ("standard", "template")

_MARKS = {0: "O", 1: "S", 2: "D"}


class GridWording:
    """The authors' words.

    Attributes:
        objects: the name of each object that a grid may have, and the symbol that is drawn for it.
        obstacles: likewise.

    Args:
        names_later_object: where the search meets an object whose turn has not come, name that object. The authors name
            the one that the search is heading for.
    """

    def __init__(self, *, names_later_object: bool = True) -> None:
        self._words = load_prompts("s2h")["grid_navigation"]
        self.objects: Mapping[str, str] = self._words["objects"]
        self.obstacles: Mapping[str, str] = self._words["obstacles"]
        self.names_later_object = names_later_object

    def prompt(self, grid: GridInstance, kind: Kind, *, distinct: bool = False) -> str:
        """Return the question about ``grid``.

        Args:
            grid: the instance.
            kind: what is given and what is asked.
            distinct: ask for the text form in so many words where ``kind`` is ``image_via_text``; the authors do not.
        """
        request = IMAGE_PREFIX + self._words["conversion_request"]
        if kind == "conversion":
            return request
        if kind == "text":
            return self.text_form(grid) + self._words["text"]
        question = self._words["image"]
        is_distinct = distinct and kind == "image_via_text"
        return f"{request}\n{question.removeprefix(IMAGE_PREFIX)}" if is_distinct else question

    def response(
        self, grid: GridInstance, kind: Kind, *, cot: bool = True, keep: float = 1.0, style: CotStyle = "standard"
    ) -> str:
        """Return the target: conversion and search as ``kind`` and ``cot`` ask, then the answer.

        Args:
            grid: the instance.
            kind: what is given and what is asked.
            cot: whether the search is there.
            keep: share of the search, with its heading, that is left, from its beginning, in characters.
            style: ``template`` has only the moves that were not taken back, without the neighbours that were refused.
        """
        text_form = "" if kind in ("text", "image") else self.text_form(grid)
        if kind == "conversion":
            return text_form
        conversion = f"{self._words['conversion']}{text_form}\n" if kind == "image_via_text" else ""
        kept = kept_part(self.chain(grid, style), keep) if cot else ""
        return conversion + (f"{kept}\n" if kept else "") + self.solution(grid)

    def text_form(self, grid: GridInstance) -> str:
        """Write a grid as a line of column letters, and a line for each row, with ``&`` between the cells."""
        marks = _MARKS | {code: name for code, name in enumerate(grid.objects, start=3)}
        marks |= {-kind: name for kind, name in enumerate(grid.obstacles, start=1)}
        rows = [
            " & ".join([f" {_letter(row)}", *[marks[code] for code in codes]]) for row, codes in enumerate(grid.cells)
        ]
        return "\n".join(["".join([f" & {_letter(col)}" for col in range(grid.num_cols)]), *rows, ""])

    def chain(self, grid: GridInstance, style: CotStyle = "standard") -> str:
        """Write what is to be collected and avoided, and then the search, state by state."""
        words = self._words["reasoning"]
        stops = zip(grid.objects, grid.stops, strict=True)
        parts = [
            words["heading"],
            _fill(words["source"], grid.start),
            _fill(words["destination"], grid.destination),
            words["collect"],
            *[_fill(words["object"], cell, name) for name, cell in stops],
            words["avoid"],
            *[words["obstacle"].replace("NAME", name) for name in grid.obstacles],
        ]
        lines: list[str] = []
        num_collected = 0
        for state in grid.trace if style == "standard" else states_kept(grid.trace):
            lines += self._state_lines(grid, state, num_collected)
            num_collected = state.collected
        return "".join(parts) + "\n" + "\n".join(lines)

    def solution(self, grid: GridInstance) -> str:
        """Return the answer."""
        return " ".join([self._words["answer"], *grid.actions]) if grid.actions else self._words["no_path"]

    def _state_lines(self, grid: GridInstance, state: State, num_collected: int) -> list[str]:
        """Write one state: the cell, with the object that was collected on entering it, the neighbours, the move."""
        words = self._words["reasoning"]
        collected = words["collected"].replace("NAME", grid.objects[num_collected - 1]) if num_collected else ""
        lines = [f" {_cell_name(state.row, state.col)}:{collected}"]
        lines += [
            f" {neighbour.action}: {_target(state, neighbour.action)} {self._tag(grid, state, neighbour)}"
            for neighbour in state.considered
        ]
        if state.action == RETRACE:
            lines.append(words["retrace"])
        else:
            lines.append(f" {state.action}: {_target(state, state.action)} {words['chosen']}")
        return lines

    def _tag(self, grid: GridInstance, state: State, neighbour: Neighbour) -> str:
        """Say why a neighbour was not entered."""
        tag = self._words["reasoning"]["verdicts"][neighbour.verdict]
        if neighbour.verdict == "later_object" and not self.names_later_object:
            return tag.replace("NAME", grid.objects[neighbour.target - 1])
        if neighbour.verdict in ("closed", "later_object"):
            down, right = MOVES[neighbour.action]
            return tag.replace("NAME", grid.name_at(state.row + down, state.col + right))
        return tag


def _letter(number: int) -> str:
    """Name a row or column, counted from 0; one outside the grid gets the character beside the alphabet."""
    return chr(ord("a") + number)


def _target(state: State, action: str) -> str:
    """Name the cell that a move leads to."""
    down, right = MOVES[action]
    return _cell_name(state.row + down, state.col + right)


@cache
def _cell_name(row: int, col: int) -> str:
    """Name a cell by its row and column."""
    return f"{_letter(row)}, {_letter(col)}"


def _fill(template: str, cell: tuple[int, int], name: str = "") -> str:
    """Put the letters of a cell, and a name, into a template."""
    return template.replace("ROW", _letter(cell[0])).replace("COL", _letter(cell[1])).replace("NAME", name)

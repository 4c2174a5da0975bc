"""Tables in words: text form, prompts, chain of thought and answer of the table tasks.

Source: S2H, arXiv:2501.02669, section 2 and appendix. The strings of style ``latex`` are the authors'
(``prompts/s2h.yaml``); those of style ``compact`` are ours, with the same structure in far fewer tokens.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.synthetic import Kind
from vlmzoo.data.synthetic._table import TableInstance
from vlmzoo.data.synthetic._wording import IMAGE_PREFIX, CotStyle, kept_part

__all__ = ["COT_STYLES", "TableStyle", "TableWording", "compact_wording", "latex_wording"]

TableStyle: TypeAlias = Literal["latex", "compact"]
COT_STYLES: tuple[CotStyle, ...] = ("standard", "template", "order")

_FIELDS: Mapping[CotStyle, tuple[int, ...]] = {
    "standard": (0, 1, 2, 3, 4),
    "order": (3, 2, 1, 0, 4),
    "template": (2, 3, 4),
}
_FIELDS_WITHOUT_NAMES: Mapping[CotStyle, tuple[int, ...]] = {
    "standard": (0, 1, 4),
    "order": (1, 0, 4),
    "template": (0, 1, 4),
}
"""Which of row index, column index, row name, column name and value an enumerated line has, and in what order."""
_FIRST_NAMES = "Ann Ben Carl Dan Eve Finn Hugh Jack Kate Max Ruth Zoe"
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"


@dataclass(frozen=True, kw_only=True)
class TableWording:
    """The words of one style.

    Args:
        row_pool: names that rows are drawn from.
        col_pool: names that columns are drawn from.
        text_form: writes a table.
        text_prompt: follows the text form; START_CELL and END_CELL are replaced.
        image_prompt: begins with ``IMAGE_PREFIX``; START_CELL and END_CELL are replaced.
        cell: how a cell is named, with ``{row}`` and ``{col}``.
        conversion: the line that announces a text form.
        conversion_request: asks for the text form.
        reasoning: sentence before the enumeration.
        columns: names of the fields of an enumerated line, as a line; none where empty.
        separator: stands between the fields of an enumerated line.
        names_in_lines: whether an enumerated line names its row and its column; if not, the columns, the rows, and the
            ends of the path are named before the enumeration, each name with its index behind it.
        gap: stands between sections.
        line_gap: stands between the total and the answer.
    """

    row_pool: tuple[str, ...]
    col_pool: tuple[str, ...]
    text_form: Callable[[TableInstance], str]
    text_prompt: str
    image_prompt: str
    cell: str
    conversion: str
    conversion_request: str
    reasoning: str
    columns: str
    separator: str
    names_in_lines: bool
    gap: str
    line_gap: str

    def with_pools(self, num_rows: int, num_cols: int) -> "TableWording":
        """Return the same words with the first names of each pool only."""
        return replace(self, row_pool=self.row_pool[:num_rows], col_pool=self.col_pool[:num_cols])

    def prompt(self, table: TableInstance, kind: Kind, *, distinct: bool = False) -> str:
        """Return the question about ``table``.

        Args:
            table: the instance.
            kind: what is given and what is asked.
            distinct: ask for the text form in so many words where ``kind`` is ``image_via_text``; the authors do not.
        """
        if kind == "conversion":
            return IMAGE_PREFIX + self.conversion_request
        template = self.text_prompt if kind == "text" else self.image_prompt
        question = template.replace("START_CELL", self._cell(table, 0)).replace("END_CELL", self._cell(table, -1))
        if kind == "text":
            return self.text_form(table) + question
        if kind == "image_via_text" and distinct:
            return f"{IMAGE_PREFIX}{self.conversion_request}\n{question.removeprefix(IMAGE_PREFIX)}"
        return question

    def response(
        self, table: TableInstance, kind: Kind, *, cot: bool = True, keep: float = 1.0, style: CotStyle = "standard"
    ) -> str:
        """Return the target: conversion and enumeration as ``kind`` and ``cot`` ask, then total and answer.

        Args:
            table: the instance.
            kind: what is given and what is asked.
            cot: whether the enumeration is there.
            keep: share of the enumeration, with its heading, that is left, from its beginning, in characters.
            style: ``order`` has the fields before the value backwards; ``template`` has only what names the cells, by
                their names, or by their indices where lines have no names.
        """
        if kind == "conversion":
            return self.text_form(table)
        conversion = f"{self.conversion}{self.text_form(table)}" if kind == "image_via_text" else ""
        if conversion:
            conversion += self.gap or "\n"
        kept = kept_part(self.enumeration(table, style).removesuffix("\n"), keep) if cot else ""
        return conversion + (f"{kept}\n{self.gap}" if kept else "") + self.solution(table)

    def enumeration(self, table: TableInstance, style: CotStyle = "standard") -> str:
        """Return the heading, and a line for each cell of the path: indices from 1, names if any, the value."""
        rows, cols, values = table.row_names, table.col_names, table.values
        fields = (_FIELDS if self.names_in_lines else _FIELDS_WITHOUT_NAMES)[style]
        lines: list[str] = []
        for row, col in table.path:
            cell = (str(row + 1), str(col + 1), rows[row], cols[col], str(values[row][col]))
            lines.append(self.separator.join([cell[field] for field in fields]))
        return self._heading(table, style) + "\n".join([*lines, ""])

    def solution(self, table: TableInstance) -> str:
        """Return the sum written out, and the answer."""
        addends = " + ".join(map(str, table.addends))
        return f"The total is {addends} = {table.total}.{self.line_gap}Answer: {table.total}"

    def _heading(self, table: TableInstance, style: CotStyle) -> str:
        """Return what stands before the enumeration: a sentence and the fields' names, or names with their indices."""
        sentence = "" if style == "template" else self.reasoning
        if self.names_in_lines:
            names = self.columns.split(", ")
            return f"{sentence}{', '.join([names[field] for field in _FIELDS[style]])}\n"
        if style == "template":
            return ""
        ends = f"{self._located(table, 0)} to{self._located(table, -1)}\n"
        return sentence + _numbered(table.col_names) + _numbered(table.row_names) + ends

    def _located(self, table: TableInstance, step: int) -> str:
        """Name the row and the column at ``step`` of the path, each with its index behind it."""
        row, col = table.path[step]
        return f" {table.row_names[row]} {row + 1} {table.col_names[col]} {col + 1}"

    def _cell(self, table: TableInstance, step: int) -> str:
        """Name the cell at ``step`` of the path."""
        row, col = table.path[step]
        return self.cell.format(row=table.row_names[row], col=table.col_names[col])


def latex_wording(task: str) -> TableWording:
    """Return the authors' wording for a table task, e.g. ``consecutive_table_readout``."""
    prompts = load_prompts("s2h")
    words, shared, own = prompts["vocabulary"], prompts["table"], prompts[task]
    sentence, gap, columns = shared["reasoning"].rpartition("\n\n")
    return TableWording(
        row_pool=tuple(words["products"]),
        col_pool=tuple(words["months"]),
        text_form=partial(latex_text_form, frame=shared["latex"]),
        text_prompt=own["text"],
        image_prompt=own["image"],
        cell="({row}, {col})",
        conversion=shared["conversion"],
        conversion_request=shared["conversion"].rstrip("\n"),
        reasoning=sentence + gap,
        columns=columns.removesuffix("\n"),
        separator="\t",
        names_in_lines=True,
        gap="\n\n",
        line_gap="\n\n",
    )


def compact_wording() -> TableWording:
    """Return our short wording, for models of a few million parameters trained from scratch."""
    return TableWording(
        row_pool=tuple(_FIRST_NAMES.split()),
        col_pool=tuple(_MONTHS.split()),
        text_form=compact_text_form,
        text_prompt="\nAdd the marked cells from START_CELL to END_CELL.",
        image_prompt=IMAGE_PREFIX + "Add the yellow cells from START_CELL to END_CELL.",
        cell="{row} {col}",
        conversion="Table:\n",
        conversion_request="Copy the table.",
        reasoning="",
        columns="",
        separator=" ",
        names_in_lines=False,
        gap="",
        line_gap="\n",
    )


def latex_text_form(table: TableInstance, frame: Mapping[str, str]) -> str:
    """Write a table as the authors' LaTeX.

    A column with a highlighted cell is specified as ``l``, any other as ``r``: the authors' tables went through pandas,
    where a mark makes the column a column of strings. So the specification gives the highlighted columns away; it
    is kept because the released data have it.

    Args:
        table: the instance.
        frame: the lines around header and body, as in ``prompts/s2h.yaml``.
    """
    marked = {col for _, col in table.path}
    spec = "l" + "".join(["l" if col in marked else "r" for col in range(len(table.col_names))])
    header = "".join([f" & {name}" for name in table.col_names])
    cells = _marked_cells(table, mark=" *")
    body = "".join([f" {name} & {' & '.join(row)} \\\\\n" for name, row in zip(table.row_names, cells, strict=True)])
    begin_tabular = frame["begin_tabular"].replace("COLUMN_SPEC", spec)
    end = f" {frame['end_tabular']}{frame['caption']}{frame['label']}{frame['end']}"
    return f"{frame['begin']}{begin_tabular}{header} \\\\\n{body}{end}"


def compact_text_form(table: TableInstance) -> str:
    """Write a table as a line of column names, and a line for each row; each word has a space before it.

    A mark stands at its value, ``7*``, so that every row has equally many words: a model of a few layers finds a column
    by counting words.
    """
    header = "".join([f" {name}" for name in table.col_names])
    cells = _marked_cells(table, mark="*")
    return "\n".join([header, *[f" {name} {' '.join(row)}" for name, row in zip(table.row_names, cells, strict=True)]])


def _numbered(names: tuple[str, ...]) -> str:
    """Write names with their indices, counted from 1."""
    return "".join([f" {name} {index}" for index, name in enumerate(names, start=1)]) + "\n"


def _marked_cells(table: TableInstance, *, mark: str) -> list[list[str]]:
    """Return the values as text, those on the path with the mark behind them."""
    cells = [[str(value) for value in row] for row in table.values]
    for row, col in table.path:
        cells[row][col] += mark
    return cells

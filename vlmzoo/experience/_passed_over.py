"""Rows that a run passes over: counted, named, and limited."""

import logging
from collections.abc import Mapping
from typing import Any

from vlmzoo.errors import DataError

__all__ = ["MAX_SKIPS_IN_A_ROW", "CorruptRows", "nothing_of_use"]

logger = logging.getLogger(__name__)

MAX_SKIPS_IN_A_ROW = 1000
"""So many in a row mean that nothing of the data can be used."""
_FEWEST_ROWS_TO_JUDGE = 100  # before so many rows, a share says little


class CorruptRows:
    """Counts rows that cannot be read, and ends a run that has too many of them.

    Args:
        limit: share of the rows looked at that may be corrupt.
        noun: what a row is called in messages.

    Attributes:
        num: how many there were.
    """

    def __init__(self, limit: float, *, noun: str) -> None:
        self.limit, self.noun = limit, noun
        self.num = 0

    def note(self, name: str, fault: Any, *, num_seen: int) -> None:
        """Count one row.

        Args:
            name: of the row.
            fault: what is wrong with it.
            num_seen: rows looked at, those among which ``num`` were found.

        Raises:
            DataError: if there are too many.
        """
        self.num += 1
        logger.warning("%s `%s` is passed over: %s", self.noun.capitalize(), name, fault)
        if self.num > self.limit * max(num_seen, _FEWEST_ROWS_TO_JUDGE):
            raise DataError(
                f"{self.num} of {num_seen} {self.noun}s are corrupt, more than `corrupt_limit` ({self.limit:.1%}) "
                f"allows; the last is `{name}`: {fault} Clean the data with `vlmzoo data check --write-clean`, or "
                "raise the limit."
            )

    def state_dict(self) -> dict[str, int]:
        """Return the count."""
        return {"num_corrupt": self.num}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where ``state_dict`` was taken."""
        self.num = int(state["num_corrupt"])


def nothing_of_use(num: int, *, noun: str, option: str, max_tokens: int | None) -> DataError:
    """Return the error of a run that finds nothing that it can use."""
    return DataError(
        f"{num} {noun} in a row were corrupt or longer than `{option}` ({max_tokens}); raise it, or check the data "
        "with `vlmzoo data check`."
    )

"""Describers: a short description of a picture that agrees with the worse answer and contradicts the better one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vlmzoo.registry import Registry

__all__ = ["DESCRIBERS", "DescribeItem", "Describer", "Description"]


@dataclass(frozen=True, kw_only=True)
class DescribeItem:
    """One pair.

    Args:
        question: without images.
        chosen: the better answer, which the picture shall contradict.
        rejected: the worse one, which it shall show.
    """

    question: str
    chosen: str
    rejected: str

    def content(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"question": self.question, "chosen": self.chosen, "rejected": self.rejected}


@dataclass(frozen=True, kw_only=True)
class Description:
    """What was made of it.

    Args:
        text: the description; None where there is none.
        reason: why there is none.
        cost: of the call.
        is_failure: whether a service failed, so that it may be asked again.
    """

    text: str | None
    reason: str = ""
    cost: float = 0.0
    is_failure: bool = False


class Describer(Protocol):
    """Describes what the picture shall show."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides a description, as JSON values."""
        ...

    def check(self) -> None:
        """See whether it can describe.

        Raises:
            ServiceError: if it cannot; with its address and what to do.
        """
        ...

    def describe(self, items: Sequence[DescribeItem]) -> list[Description]:
        """Describe pictures, in order; never raises for what a service does."""
        ...


DESCRIBERS: Registry[Describer] = Registry("describer", "vlmzoo.services.describers")

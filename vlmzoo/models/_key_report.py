"""What comes of comparing the tensors of a checkpoint with those of a model."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from vlmzoo.errors import CheckpointError
from vlmzoo.registry import nearest_hint

__all__ = ["KeyReport", "Mismatch", "Shape"]

Shape = tuple[int, ...]


class Mismatch(NamedTuple):
    """A tensor of another shape than our model's."""

    key: str
    expected: Shape
    found: Shape

    def __str__(self) -> str:
        """Return the key with both shapes."""
        return f"`{self.key}`, which must be {self.expected}, but is {self.found} instead"


@dataclass(frozen=True, kw_only=True)
class KeyReport:
    """What a checkpoint holds, compared with what a model takes; all keys are theirs.

    Args:
        layout: the key tables that were used.
        num_matched: tensors that fit.
        missing: what the model takes and the checkpoint lacks.
        unexpected: what the checkpoint holds and nothing takes.
        mismatched: what is there in another shape.
        dropped: what is left out on purpose, with the reason.
        cut: what is read without its last rows, with the reason.
        hint: what the family knows of the cause of the faults; a sentence, or nothing.
    """

    layout: str
    num_matched: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[Mismatch, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)
    cut: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether everything that the model takes is there, and nothing else."""
        return not (self.missing or self.unexpected or self.mismatched)

    def faults(self, num_shown: int = 3) -> list[str]:
        """Return one phrase for each kind of fault that there is, naming up to so many keys."""
        missing = [f"`{key}`" for key in self.missing]
        unexpected = [f"`{key}`{nearest_hint(key, self.missing)}" for key in self.unexpected[:num_shown]]
        unexpected += list(self.unexpected[num_shown:])
        kinds = {
            "lacks": missing,
            "holds more than the model takes:": unexpected,
            "holds tensors of another shape:": [str(mismatch) for mismatch in self.mismatched],
        }
        return [f"{what} {_shown(keys, num_shown)}" for what, keys in kinds.items() if keys]

    def require_clean(self, checkpoint: object) -> None:
        """Fail on the first fault of each kind.

        Raises:
            CheckpointError: naming the keys.
        """
        if not self.is_clean:
            hint = f"{self.hint} " if self.hint else ""
            raise CheckpointError(
                f"`{checkpoint}`, read in layout `{self.layout}`, {'; it '.join(self.faults())}. {hint}Nothing was "
                "loaded; choose the model and the layout that belong to these weights, or download them again."
            )

    def __str__(self) -> str:
        """Return the report as lines of text, the verdict last."""
        left_out: dict[str, list[str]] = defaultdict(list)
        for what, keys in (("dropped", self.dropped), ("cut", self.cut)):
            for key, reason in keys.items():
                left_out[f"{what} ({reason})"].append(f"`{key}`")
        lines = [f"layout {self.layout}: {self.num_matched} tensors fit"]
        lines += [f"{len(keys)} {what}: {_shown(keys, 1)}" for what, keys in left_out.items()]
        lines += [f"the checkpoint {fault}" for fault in self.faults(num_shown=10)]
        lines += [self.hint] if self.hint else []
        num_missing, num_unexpected, num_mismatched = map(len, (self.missing, self.unexpected, self.mismatched))
        lines.append(f"{num_missing} missing, {num_unexpected} unexpected, {num_mismatched} of another shape")
        return "\n".join(lines)


def _shown(keys: Sequence[str], num_shown: int) -> str:
    rest = len(keys) - num_shown
    return ", ".join(keys[:num_shown]) + (f" and {rest} more" if rest > 0 else "")

"""Log-probabilities of a reference that were computed beforehand, in one file.

Letters: P pairs, R rows of a pair.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vlmzoo.data.preference_batches import pair_digest
from vlmzoo.errors import DataError

__all__ = ["ReferenceTable"]

_DIGEST_BYTES = 16


class ReferenceTable:
    """Sums over the targets of each row, by what the pair holds: its ids, its targets and its pictures.

    Args:
        sums: R numbers for each digest, in nats.
        facts: ``strategy`` and ``mode`` of the rows, and what else a reader wants to know.
        place: where it came from.
    """

    def __init__(self, sums: Mapping[bytes, Tensor], facts: Mapping[str, str], *, place: str = "") -> None:
        self.sums, self.facts, self.place = dict(sums), dict(facts), place

    @classmethod
    def read(cls, path: str | Path, *, strategy: str, mode: str) -> "ReferenceTable":
        """Read a file.

        Raises:
            DataError: if it cannot be read, or was made for other rows.
        """
        try:
            with safe_open(str(Path(path).expanduser()), "pt") as file:
                facts = dict(file.metadata() or {})
                digests, sums = file.get_tensor("digests"), file.get_tensor("logprobs")
        except (OSError, SafetensorError) as error:
            raise DataError(
                f"`reference_file` must be a file of log-probabilities, but `{path}` cannot be read ({error}); write "
                "it with `vlmzoo data reference CONFIG --out FILE`."
            ) from error
        if (facts.get("strategy"), facts.get("mode")) != (strategy, mode):
            raise DataError(
                f"`{path}` must hold rows of the strategy {strategy} ({mode}), but holds those of "
                f"{facts.get('strategy')} ({facts.get('mode')}); write it anew with `vlmzoo data reference`."
            )
        keys = [bytes(row) for row in digests.numpy()]
        return cls(dict(zip(keys, sums, strict=True)), facts, place=str(path))

    @classmethod
    def of(cls, pairs: Sequence[tuple[bytes, Tensor]], facts: Mapping[str, str]) -> "ReferenceTable":
        """Build a table of digests with their sums."""
        return cls(dict(pairs), facts)

    def write(self, path: Path) -> Path:
        """Write a file that :meth:`read` reads; it appears when it is whole."""
        digests = np.frombuffer(b"".join(self.sums), dtype=np.uint8).reshape(-1, _DIGEST_BYTES)
        tensors = {"digests": torch.from_numpy(digests.copy()), "logprobs": torch.stack(list(self.sums.values()))}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        save_file(tensors, partial, metadata=self.facts)
        partial.replace(path)
        return path

    def find(self, encoded: Mapping[str, Any]) -> Tensor:
        """Return the sums of an encoded pair, ``(R,)``.

        Raises:
            DataError: if it is not there.
        """
        found = self.sums.get(pair_digest(encoded))
        if found is None:
            raise DataError(
                f"`{self.place}` must hold every pair of the run, but one of {len(encoded['input_ids'])} tokens is "
                "missing: data, pictures, prompt or tokenizer are others than when it was written. Write it anew with "
                "`vlmzoo data reference CONFIG --out FILE`."
            )
        return found

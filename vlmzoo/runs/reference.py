"""The log-probabilities of a run's starting model, computed once for all of its pairs."""

from collections.abc import Callable
from pathlib import Path

import torch

from vlmzoo.config.schema import RunConfig
from vlmzoo.data.preference_batches import pair_digest
from vlmzoo.data.preference_pairs import PairEncoder
from vlmzoo.data.sources import SOURCES
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.experience._passed_over import CorruptRows
from vlmzoo.experience.pairs import make_pair_collator
from vlmzoo.experience.reference_table import ReferenceTable
from vlmzoo.runs.models import model_of

__all__ = ["write_reference"]


@torch.no_grad()
def write_reference(
    config: RunConfig, path: str | Path, *, report: Callable[[int, int], None] = lambda done, of: None
) -> Path:
    """Write the file that ``reference: precomputed`` reads.

    Args:
        config: of a run whose experience is `pairs`; its own ``reference`` does not matter.
        path: of the file.
        report: told the number of finished pairs, and of all.

    Raises:
        ConfigError: if the experience is another one, or its source has no end.
        DataError: if more pairs are corrupt than the run's ``corrupt_limit`` allows, or none is whole.
    """
    spec = dict(config.experience)
    if spec.get("type") != "pairs":
        raise ConfigError(f"`experience` must be of type pairs, but is of type {spec.get('type')!r} instead.")
    source = SOURCES.build(spec["source"])
    if source.size is None:
        raise ConfigError("The source must have an end for all of its pairs to be computed, but has none.")
    device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(config.seed)
    model, processor = model_of(config.model, device=device)
    model.eval()
    rows = {"strategy": spec.get("strategy", "dpo"), "mode": spec.get("mode", "single")}
    encoder = PairEncoder(processor, **rows, shared_tokens=spec.get("shared_tokens", "keep"))
    collate = make_pair_collator(processor, **rows)
    places = collate.places_of(0, 1)
    corrupt = CorruptRows(float(spec.get("corrupt_limit", 0.01)), noun="pair")
    found = []
    for position in range(source.size):
        try:
            encoded = encoder.encode(source.sample(position))
        except DataError as error:
            corrupt.note(str(position), error, num_seen=position + 1)
            continue
        outputs = model(**collate([encoded]).to(device).inputs, return_logits=False)
        found.append((pair_digest(encoded), outputs.logprobs.sum(dim=1)[places].cpu()))
        report(position + 1, source.size)
    if not found:
        raise DataError(f"The source must hold a pair that can be used, but all {source.size} are corrupt.")
    return ReferenceTable.of(found, rows).write(Path(path))

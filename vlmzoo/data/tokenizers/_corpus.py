"""What tokenizers are trained on when nothing may be downloaded: the texts of synthetic tasks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vlmzoo.data.synthetic import TASKS
from vlmzoo.data.tokenizers import IMAGE_TOKEN

__all__ = ["BUILT_IN", "synthetic_texts"]

BUILT_IN: Sequence[Mapping[str, Any]] = (
    {"type": "consecutive_table_readout", "level": "simple"},
    {"type": "consecutive_table_readout", "style": "compact"},
)
"""The corpus of a miniature whose spec names none."""


def synthetic_texts(corpus: Sequence[Mapping[str, Any]], *, num_samples: int, seed: int) -> Iterator[str]:
    """Give what synthetic tasks say, prompts and responses in turn, without image placeholders.

    Args:
        corpus: tasks, ``{type: name, …}``, each with the ``kind`` of example to read.
        num_samples: conversations read from each task.
        seed: of the instances.
    """
    for spec in corpus:
        kind = spec.get("kind", "text")
        task = TASKS.build({name: value for name, value in spec.items() if name != "kind"})
        for index in range(num_samples):
            instance = task.instance(seed, index)
            yield task.prompt(instance, kind).replace(IMAGE_TOKEN, "")
            yield task.response(instance, kind)

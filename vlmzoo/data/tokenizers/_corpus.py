"""What tokenizers are trained on when nothing may be downloaded: the texts of synthetic tasks, or of a source."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vlmzoo.data.sources import SOURCES
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
        corpus: tasks, ``{type: name, …}``, each with the ``kind`` of example to read; or ``{source: {type: name, …}}``.
        num_samples: conversations read from each task.
        seed: of the instances.
    """
    for spec in corpus:
        if "source" in spec:
            yield from _texts_of(spec["source"], num_samples)
            continue
        kind = spec.get("kind", "text")
        task = TASKS.build({name: value for name, value in spec.items() if name != "kind"})
        for index in range(num_samples):
            instance = task.instance(seed, index)
            yield task.prompt(instance, kind).replace(IMAGE_TOKEN, "")
            yield task.response(instance, kind)


def _texts_of(spec: Mapping[str, Any], num_samples: int) -> Iterator[str]:
    source = SOURCES.build(spec)
    for position in range(num_samples if source.size is None else min(num_samples, source.size)):
        for message in source.sample(position).messages:
            blocks = [{"text": message["content"]}] if isinstance(message["content"], str) else message["content"]
            yield "".join(block.get("text", "") for block in blocks)

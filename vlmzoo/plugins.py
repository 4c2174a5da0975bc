"""How other packages add to the tables: one decorator that finds the registry of a kind when it is used.

A package offers its modules by an entry point of the group ``vlmzoo.plugins``; they are imported when a name is
looked up for the first time.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from vlmzoo.errors import RegistryError
from vlmzoo.registry import Registry, nearest_hint

__all__ = ["KINDS", "register", "registry_of"]

BuilderT = TypeVar("BuilderT", bound=Callable[..., Any])

KINDS: Mapping[str, tuple[str, str]] = {
    "adapter": ("vlmzoo.adapters", "ADAPTERS"),
    "benchmark": ("vlmzoo.evaluation.benchmarks", "BENCHMARKS"),
    "chat_client": ("vlmzoo.services.chat", "CHAT_CLIENTS"),
    "describer": ("vlmzoo.services.describers", "DESCRIBERS"),
    "encoder": ("vlmzoo.blocks.encoders", "ENCODERS"),
    "experience": ("vlmzoo.experience", "EXPERIENCES"),
    "family": ("vlmzoo.models", "FAMILIES"),
    "fusion": ("vlmzoo.blocks.fusion", "FUSIONS"),
    "judge": ("vlmzoo.services.judges", "JUDGES"),
    "language_model": ("vlmzoo.blocks.language", "LANGUAGE_MODELS"),
    "mask_decoder": ("vlmzoo.blocks.decoders", "DECODERS"),
    "negative_image_source": ("vlmzoo.services.negative_images", "NEGATIVE_IMAGES"),
    "objective": ("vlmzoo.objectives", "OBJECTIVES"),
    "pathway": ("vlmzoo.evaluation.pathways", "PATHWAYS"),
    "proposer": ("vlmzoo.agents.proposers", "PROPOSERS"),
    "projector": ("vlmzoo.blocks.projectors", "PROJECTORS"),
    "rollout_engine": ("vlmzoo.services.rollout", "ROLLOUT_ENGINES"),
    "score": ("vlmzoo.scoring", "SCORES"),
    "selection": ("vlmzoo.scoring.selections", "SELECTIONS"),
    "source": ("vlmzoo.data.sources", "SOURCES"),
    "task": ("vlmzoo.data.synthetic", "TASKS"),
    "tokenizer": ("vlmzoo.data.tokenizers", "TOKENIZERS"),
    "verifier": ("vlmzoo.services.verifiers", "VERIFIERS"),
}
"""Kinds of thing that a config can name: the package that holds the table, and the table's name there."""


def registry_of(kind: str) -> Registry[Any]:
    """Return the registry of a kind, importing the package that holds it.

    Args:
        kind: a key of `KINDS`, e.g. ``encoder``.

    Raises:
        RegistryError: if there is no such kind; the nearest is in the message.
    """
    if kind not in KINDS:
        known = ", ".join(f"`{other}`" for other in KINDS)
        raise RegistryError(f"There is no kind named `{kind}`.{nearest_hint(kind, KINDS)} Known: {known}.")
    module, table = KINDS[kind]
    return cast("Registry[Any]", getattr(importlib.import_module(module), table))


def register(kind: str, name: str, *, source: str, tiny: Mapping[str, Any]) -> Callable[[BuilderT], BuilderT]:
    """Decorate a class or function of another package, so that configs can name it.

    Args:
        kind: what it is, a key of `KINDS`.
        name: what a config writes under ``type``.
        source: paper and section, or documentation, that it implements.
        tiny: the smallest arguments that work on a CPU.

    Raises:
        RegistryError: if there is no such kind, the name is taken, or the source is empty.
    """
    return registry_of(kind).register(name, source=source, tiny=tiny)

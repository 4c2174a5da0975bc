"""The card of a model: name, architecture and weights are three separate facts, each with its source."""

from collections.abc import Mapping
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Architecture", "Card", "Licence", "Paper", "Weights"]

Spec = dict[str, Any]
"""A ``{type: name, **arguments}`` mapping, checked against a registry when it is built."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Architecture(_Strict):
    """What is built, block by block; each spec is what the block's registry takes."""

    family: str
    """Folder under ``vlmzoo.models`` that composes the blocks."""
    encoder: Spec
    """Image encoder."""
    projector: Spec
    """From the encoder's channels to the language model's width."""
    language_model: Spec
    """Decoder-only language model, with the fields of its transformers configuration."""
    processor: Spec
    """``{image, tokenizer, chat_template}``: how images and text become inputs."""
    image_token_id: int
    """The placeholder of one visual token; of released weights, so that no tokenizer is needed to build the model."""


class Weights(_Strict):
    """Where trained weights lie, and whose names their tensors bear."""

    repo: str
    """Hub id."""
    revision: str = "main"
    """Branch, tag or commit."""
    layout: str
    """Key table of the family that reads them."""


class Licence(_Strict):
    """Under which terms a model may be used."""

    code: str
    """Of the authors' code."""
    weights: str
    """Of the published weights."""
    base: str
    """Of what the weights were trained from, part by part."""


class Paper(_Strict):
    """Where the model is described."""

    title: str
    """As printed."""
    arxiv: str = Field(pattern=r"^\d{4}\.\d{4,5}$")
    """arXiv id."""


class Card(_Strict):
    """All that the zoo knows about one named model."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.\-]*$")
    """What configs and commands call it; also the name of its file."""
    architecture: Architecture
    """What is built."""
    weights: Weights
    """What is loaded into it."""
    licence: Licence
    """Terms of use."""
    paper: Paper
    """Where it is described."""
    source: str
    """Where the numbers of this card were read."""
    parity: Literal["keys only", "verified"]
    """``keys only``: names and shapes of tensors agree; ``verified``: outputs were compared with the authors' code."""
    tiny: dict[str, Spec]
    """What the miniature changes in the architecture: same topology, few layers, narrow."""

    @property
    def family(self) -> str:
        """Folder under ``vlmzoo.models`` that composes the blocks."""
        return self.architecture.family

    def miniature(self) -> Spec:
        """Return the architecture with ``tiny`` laid over it; a spec of another ``type`` replaces the whole spec.

        It names no ``image_token_id``: the miniature's own tokenizer says which it is.
        """
        return _laid_over(self.architecture.model_dump(exclude={"image_token_id"}), self.tiny)


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    if "type" in above and above["type"] != below.get("type"):
        return dict(above)
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        is_nested = isinstance(lower, dict) and isinstance(value, dict)
        merged[key] = _laid_over(cast("Spec", lower), cast("Spec", value)) if is_nested else value
    return merged

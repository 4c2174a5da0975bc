"""The card of a model: name, architecture and weights are three separate facts, each with its source."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError, model_validator

from vlmzoo.errors import ConfigError

__all__ = [
    "TOKEN_FIELDS",
    "AnyArchitecture",
    "Architecture",
    "Card",
    "Licence",
    "NativeArchitecture",
    "Paper",
    "Weights",
    "laid_over",
    "read_architecture",
]

Spec = dict[str, Any]
"""A ``{type: name, **arguments}`` mapping, checked against a registry when it is built."""

_QWEN_TOKENS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
TOKEN_FIELDS: Mapping[str, Mapping[str, str]] = {
    "internvl": {"image_token_id": "<IMG_CONTEXT>"},
    "llava": {"image_token_index": "<image>"},
    "qwen2_5_vl": _QWEN_TOKENS,
    "qwen2_vl": _QWEN_TOKENS,
    "qwen3_vl": _QWEN_TOKENS,
}
"""By transformers' ``model_type``: which field of the configuration holds the id of which token."""

_TEXT_TOKEN_FIELDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_IMAGE_KINDS = ("pixels", "tiling", "image")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


class Architecture(_Strict):
    """A composed base, block by block; each spec is what the block's registry takes."""

    family: str
    """Folder under ``vlmzoo.models`` that composes the blocks."""
    encoder: Spec | None = None
    """Image encoder, of a family that has one."""
    encoders: list[Spec] | None = None
    """Image encoders in order, of a family that has several."""
    fusion: Spec | None = None
    """How the maps of several encoders come together; None is the family's default."""
    image_size: int | list[int] | None = None
    """Side or [height, width] of the images that several encoders share, in pixels; None is the largest of theirs."""
    projector: Spec
    """From the encoder's channels to the language model's width."""
    language_model: Spec
    """Decoder-only language model, with the fields of its transformers configuration."""
    processor: Spec
    """``{image, tokenizer, chat_template}``: how images and text become inputs."""
    image_token_id: int
    """The placeholder of one visual token; of released weights, so that no tokenizer is needed to build the model."""

    @model_validator(mode="after")
    def _one_or_several(self) -> "Architecture":
        if (self.encoder is None) == (not self.encoders):
            raise ValueError("an architecture must have an `encoder` or `encoders`, and not both")
        if self.encoder is not None and (self.fusion or self.image_size):
            raise ValueError("`fusion` and `image_size` are of `encoders`, not of a single `encoder`")
        return self

    @property
    def encoder_specs(self) -> list[Spec]:
        """All encoders, in order."""
        return [self.encoder] if self.encoder is not None else list(self.encoders or ())


class NativeArchitecture(_Strict):
    """A native base: transformers' own class, described by the fields of its configuration."""

    family: Literal["native"]
    """Always ``native``."""
    model_type: str
    """transformers' name of the architecture, e.g. ``qwen2_vl``."""
    config: Spec
    """Fields of its configuration, ``text_config`` and ``vision_config`` among them; the others keep their defaults."""
    processor: Spec
    """``{tokenizer, chat_template}`` and how images are sized: ``pixels``, ``tiling`` or ``image``."""

    @model_validator(mode="after")
    def _one_image_kind(self) -> "NativeArchitecture":
        given = [kind for kind in _IMAGE_KINDS if kind in self.processor]
        if len(given) != 1:
            raise ValueError(f"`processor` must have one of {', '.join(_IMAGE_KINDS)}, but has {given or 'none'}")
        for part in ("text_config", "vision_config"):
            if not isinstance(self.config.get(part), dict):
                raise ValueError(f"`config` must have a mapping `{part}`, but has {self.config.get(part)!r}")
        return self


def _shape_of(value: Any) -> str:
    family = cast("Spec", value).get("family") if isinstance(value, dict) else getattr(value, "family", None)
    return "native" if family == "native" else "composed"


AnyArchitecture: TypeAlias = Annotated[
    Annotated[Architecture, Tag("composed")] | Annotated[NativeArchitecture, Tag("native")], Discriminator(_shape_of)
]
"""Which of the two it is, ``family`` says."""

_ADAPTER: TypeAdapter[Architecture | NativeArchitecture] = TypeAdapter(AnyArchitecture)


def read_architecture(values: Mapping[str, Any]) -> Architecture | NativeArchitecture:
    """Check an architecture spelt out, such as a miniature.

    Args:
        values: the mapping; a composed one may leave ``image_token_id`` to its tokenizer.

    Raises:
        ConfigError: if it is at fault.
    """
    given = dict(values)
    if _shape_of(given) == "composed":
        given.setdefault("image_token_id", 0)
    try:
        return _ADAPTER.validate_python(given)
    except ValidationError as error:
        raise ConfigError(f"The architecture must hold the fields of a card: {error}") from error


class Weights(_Strict):
    """Where trained weights lie, and whose names their tensors bear."""

    repo: str | None
    """Hub id; None of an architecture that nobody has published weights of."""
    revision: str = "main"
    """Branch, tag or commit."""
    layout: str
    """Key table of the family that reads them."""
    encoder: str | None = None
    """Hub id of the image encoder's weights, where ``repo`` leaves them out; they are OpenAI's, unchanged."""


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
    architecture: AnyArchitecture
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
    tiny: dict[str, Spec | list[Spec] | int]
    """What the miniature changes in the architecture: same topology, few layers, narrow."""
    adapters: list[Spec] = Field(default_factory=list[Spec])
    """What the published model has beside its base, as ``adapters`` of a config."""
    token_ids: dict[str, int] = Field(default_factory=dict[str, int])
    """Ids of the adapters' tokens, which have rows in the published tables."""
    tiny_adapters: list[Spec] = Field(default_factory=list[Spec])
    """The same adapters for the miniature."""

    @property
    def family(self) -> str:
        """Folder under ``vlmzoo.models`` that builds it."""
        return self.architecture.family

    def miniature(self) -> Spec:
        """Return the architecture with ``tiny`` laid over it; a spec of another ``type`` replaces the whole spec.

        Of several encoders, each has its own laid over it.

        It names no token's id, for the miniature's own tokenizer says which they are: neither ``image_token_id`` of a
        composed base, nor the fields of `TOKEN_FIELDS` of a native one, nor ``bos``, ``eos`` and ``pad_token_id``.
        """
        dumped = self.architecture.model_dump(exclude={"image_token_id"})
        below = {name: value for name, value in dumped.items() if value is not None}
        tiny = laid_over(below, self.tiny)
        if isinstance(self.architecture, NativeArchitecture):
            tiny["config"] = _without(tiny["config"], tuple(TOKEN_FIELDS.get(self.architecture.model_type, ())))
            tiny["config"]["text_config"] = _without(tiny["config"]["text_config"], _TEXT_TOKEN_FIELDS)
        else:
            tiny["language_model"] = _without(tiny["language_model"], _TEXT_TOKEN_FIELDS)
        return tiny


def _without(values: Mapping[str, Any], names: Sequence[str]) -> Spec:
    return {name: value for name, value in values.items() if name not in names}


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the values of one mapping over those of another, mapping by mapping, and of several encoders each by itself.

    Args:
        below: what stands where ``above`` says nothing.
        above: what goes before; a mapping of another ``type`` replaces the whole mapping below.
    """
    if "type" in above and above["type"] != below.get("type"):
        return dict(above)
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        if isinstance(lower, dict) and isinstance(value, dict):
            merged[key] = laid_over(cast("Spec", lower), cast("Spec", value))
        elif key == "encoders" and isinstance(lower, list):
            pairs = zip(cast("list[Spec]", lower), cast("list[Spec]", value), strict=True)
            merged[key] = [laid_over(*pair) for pair in pairs]
        else:
            merged[key] = value
    return merged

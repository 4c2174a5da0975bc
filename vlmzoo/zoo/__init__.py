"""The zoo: one YAML card per named model; what is known of it is told without torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vlmzoo.errors import ConfigError, RegistryError
from vlmzoo.registry import nearest_hint
from vlmzoo.zoo.adapter_sizes import count_adapter_parameters
from vlmzoo.zoo.arithmetic import DEFAULT_IMAGE_SIZE, count_image_tokens, count_parameters
from vlmzoo.zoo.card import TOKEN_FIELDS, Architecture, Card, NativeArchitecture, laid_over, read_architecture
from vlmzoo.zoo.memory import Lora, MemoryForecast, forecast_memory
from vlmzoo.zoo.visual import ImageSize

__all__ = [
    "DEFAULT_IMAGE_SIZE",
    "TOKEN_FIELDS",
    "Architecture",
    "Card",
    "Lora",
    "MemoryForecast",
    "ModelInfo",
    "NativeArchitecture",
    "forecast_memory",
    "list_models",
    "load_card",
    "model_info",
    "read_architecture",
]

_FOLDER = Path(__file__).parent
_TEXT_TOKENS = 512
_LORA_RANK = 8


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What one wants to know of a model before downloading it.

    Args:
        name: what configs and commands call it.
        family: folder under ``vlmzoo.models`` that builds it.
        parameters: number of parameters, by part.
        image_tokens: visual tokens that one image of ``image_size`` becomes.
        context_tokens: positions of the language model, visual tokens included.
        weights: ``repo``, ``revision`` and ``layout`` of the published weights; ``repo`` is None if there are none.
        licence: ``code``, ``weights`` and ``base``.
        paper: ``title`` and ``arxiv``.
        source: where the numbers were read.
        parity: what has been compared with the authors' code.
        image_size: (height, width) in pixels of the image that figures are for.
        memory: forecasts in bfloat16 for one image and 512 tokens of text: ``inference``, and training of one sequence
            with AdamW on one device, of a LoRA of rank 8 (``lora``) and of all parameters (``full``) of the base; of
            adapters only the weights are counted.
    """

    name: str
    family: str
    parameters: Mapping[str, int]
    image_tokens: int
    context_tokens: int
    weights: Mapping[str, str | None]
    licence: Mapping[str, str]
    paper: Mapping[str, str]
    source: str
    parity: str
    image_size: ImageSize
    memory: Mapping[str, MemoryForecast]

    @property
    def num_parameters(self) -> int:
        """Parameters of all parts."""
        return sum(self.parameters.values())

    def weight_bytes(self, *, bytes_per_parameter: int = 2) -> int:
        """Return the memory that the weights take; two bytes each in bfloat16 and float16, four in float32."""
        return self.num_parameters * bytes_per_parameter

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {**asdict(self), "num_parameters": self.num_parameters, "weight_bytes_bf16": self.weight_bytes()}

    def rows(self) -> list[tuple[str, str]]:
        """Return what there is to show, as (label, text) pairs."""
        parts = ", ".join(f"{part} {count / 1e6:,.1f} M" for part, count in self.parameters.items())
        height, width = self.image_size
        answer, lora, full = (_gib(self.memory[name].total) for name in ("inference", "lora", "full"))
        return [
            ("model", f"{self.name} (family {self.family})"),
            ("parameters", f"{self.num_parameters / 1e6:,.1f} M: {parts}"),
            ("memory of the weights", f"{_gib(self.weight_bytes())} in bfloat16"),
            ("memory to answer", f"{answer} with one image and {_TEXT_TOKENS} tokens of text, forecast"),
            ("memory to train", f"LoRA of rank {_LORA_RANK}: {lora}; all parameters: {full}; batch of 1, forecast"),
            (
                "tokens per image",
                f"{self.image_tokens} of {self.context_tokens} positions for {height} x {width} pixels",
            ),
            ("weights", self._weights_text),
            ("licence", "; ".join(f"{part}: {terms}" for part, terms in self.licence.items())),
            ("paper", f"{self.paper['title']}, arXiv:{self.paper['arxiv']}"),
            ("parity", self.parity),
        ]

    @property
    def _weights_text(self) -> str:
        if self.weights["repo"] is None:
            return "not a release: none are published"
        return f"{self.weights['repo']} @ {self.weights['revision']}, layout {self.weights['layout']}"

    def __str__(self) -> str:
        """Return the rows as aligned text."""
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {text}" for label, text in rows)


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of the zoo that match, sorted.

    Args:
        pattern: shell wildcards, e.g. ``llava*``.
    """
    return sorted(path.stem for path in _FOLDER.glob("*.yaml") if fnmatchcase(path.stem, pattern))


def load_card(name: str) -> Card:
    """Read and check the card of a model.

    Raises:
        RegistryError: if the zoo has no such model; the nearest name is in the message.
        ConfigError: if the card itself is at fault.
    """
    names = list_models()
    if name not in names:
        known = ", ".join(f"`{other}`" for other in names)
        raise RegistryError(f"There is no model named `{name}`.{nearest_hint(name, names)} Known: {known}.")
    path = _FOLDER / f"{name}.yaml"
    try:
        card = Card.model_validate(_values(name))
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"The card `{path.name}` must hold the fields of a card: {error}") from error
    if card.name != name:
        raise ConfigError(f"The card `{path.name}` must be named after its model, but names `{card.name}` instead.")
    return card


def _values(name: str) -> dict[str, Any]:
    """Return the fields of a card, laid over those of the card that it names as its ``base``."""
    values: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    base = values.pop("base", None)
    return values if base is None else laid_over(_values(base), values)


def model_info(name: str, *, image_size: ImageSize | None = None) -> ModelInfo:
    """Say what is known of a model; nothing is built or downloaded.

    Args:
        name: a card of the zoo.
        image_size: (height, width) in pixels of the image that figures are for; None is 512 x 512.

    Raises:
        RegistryError: if the zoo has no such model; the nearest name is in the message.
        ConfigError: if ``image_size`` is no size.
    """
    card = load_card(name)
    architecture, size = card.architecture, DEFAULT_IMAGE_SIZE if image_size is None else image_size
    added = count_adapter_parameters(card)
    return ModelInfo(
        name=card.name,
        family=card.family,
        parameters={**count_parameters(architecture), **added},
        image_tokens=count_image_tokens(architecture, size),
        context_tokens=_context_tokens(architecture),
        weights=card.weights.model_dump(),
        licence=card.licence.model_dump(),
        paper=card.paper.model_dump(),
        source=card.source,
        parity=card.parity,
        image_size=size,
        memory=_with_adapters(_forecasts(architecture, size), sum(added.values())),
    )


def _context_tokens(architecture: Architecture | NativeArchitecture) -> int:
    is_native = isinstance(architecture, NativeArchitecture)
    text = architecture.config["text_config"] if is_native else architecture.language_model
    return int(text["max_position_embeddings"])


def _forecasts(architecture: Architecture | NativeArchitecture, size: ImageSize) -> dict[str, MemoryForecast]:
    def forecast(**options: Any) -> MemoryForecast:
        return forecast_memory(architecture, text_tokens=_TEXT_TOKENS, image_sizes=[size], **options)

    return {
        "inference": forecast(mode="inference"),
        "lora": forecast(trainable=Lora(rank=_LORA_RANK)),
        "full": forecast(),
    }


def _with_adapters(forecasts: Mapping[str, MemoryForecast], num_parameters: int) -> dict[str, MemoryForecast]:
    """Add the weights of the adapters, two bytes each; what they compute is not forecast."""
    more = 2 * num_parameters
    return {
        name: replace(forecast, weights=forecast.weights + more, total=forecast.total + more)
        for name, forecast in forecasts.items()
    }


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"

"""What a model is made of, as far as sizes go: stacks of transformer blocks, tables, and what joins them.

Letters: D width of a token, F width inside a feed-forward part, L blocks, A heads, K key-value heads, E width of a
head, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = [
    "LANGUAGE_MODELS",
    "Anatomy",
    "Beside",
    "ConvStack",
    "Stack",
    "clip_edges",
    "clip_stack",
    "language_stack",
    "linear",
    "num_read",
]

Spec = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Equal transformer blocks, one behind the other.

    Args:
        width: D.
        inner: F.
        num_layers: L.
        num_heads: A.
        num_kv_heads: K.
        head_dim: E.
        norm: ``layer`` with scale and shift, ``rms`` with a scale alone; two in each block.
        feed_forward: ``gated`` has three matrices, ``gelu`` and ``quick_gelu`` two.
        qkv_bias: whether queries, keys and values have biases.
        out_bias: whether the attention's output has one.
        inner_bias: whether the feed-forward part's matrices have them.
        qk_norm: width of the scale on queries and of that on keys; 0 without them.
        layer_scale: whether each half of a block has a learned scale of width D.
        packed: whether one matrix makes queries, keys and values, for sequences cut by the image.
        key_bias: whether keys have a bias where queries and values do.
        inner_norm: whether a norm stands before the last matrix of the feed-forward part (EVA-02).
        scores: by how many positions each one is scored, where the scores must be held because learned biases are
            added to them (SAM); 0 where they never are.
    """

    width: int
    inner: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    norm: Literal["layer", "rms"]
    feed_forward: Literal["gated", "gelu", "quick_gelu"]
    qkv_bias: bool = False
    out_bias: bool = False
    inner_bias: bool = False
    qk_norm: int = 0
    layer_scale: bool = False
    packed: bool = False
    key_bias: bool = True
    inner_norm: bool = False
    scores: int = 0

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(fan in, fan out) of a block's matrices, by LLaMA's names."""
        queries, keys = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        gate = {"gate_proj": (self.width, self.inner)} if self.feed_forward == "gated" else {}
        return {
            "q_proj": (self.width, queries),
            "k_proj": (self.width, keys),
            "v_proj": (self.width, keys),
            "o_proj": (queries, self.width),
            **gate,
            "up_proj": (self.width, self.inner),
            "down_proj": (self.inner, self.width),
        }

    @property
    def norm_parameters(self) -> int:
        """Parameters of one norm of width D."""
        return self.width if self.norm == "rms" else 2 * self.width

    @property
    def block_parameters(self) -> int:
        """Parameters of one block."""
        has_bias = {
            "q_proj": self.qkv_bias,
            "k_proj": self.qkv_bias and self.key_bias,
            "v_proj": self.qkv_bias,
            "o_proj": self.out_bias,
        }
        matrices = sum(
            fan_in * fan_out + fan_out * has_bias.get(name, self.inner_bias)
            for name, (fan_in, fan_out) in self.linears.items()
        )
        norms = 2 * self.norm_parameters + 2 * self.qk_norm + 2 * self.inner * self.inner_norm
        return matrices + norms + 2 * self.width * self.layer_scale

    @property
    def parameters(self) -> int:
        """Parameters of all blocks."""
        return self.num_layers * self.block_parameters


@dataclass(frozen=True, kw_only=True)
class ConvStack:
    """Equal blocks of ConvNeXt: a convolution within each channel, a norm, two matrices, a scale (arXiv:2201.03545).

    Args:
        width: D, channels.
        inner: F.
        num_layers: L.
        kernel_size: side of the convolution.
    """

    width: int
    inner: int
    num_layers: int
    kernel_size: int

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(fan in, fan out) of a block's convolution, to one channel, and of its matrices."""
        return {
            "conv": (self.kernel_size**2, self.width),
            "up_proj": (self.width, self.inner),
            "down_proj": (self.inner, self.width),
        }

    @property
    def block_parameters(self) -> int:
        """Parameters of one block."""
        return sum(linear(*fans) for fans in self.linears.values()) + 3 * self.width

    @property
    def parameters(self) -> int:
        """Parameters of all blocks."""
        return self.num_layers * self.block_parameters


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Blocks of the image encoder beside its first: another stage, or another encoder.

    Args:
        stack: the blocks.
        read: blocks up to the one whose output is read.
        share: positions that they work on, as a multiple of those of the first.
    """

    stack: Stack | ConvStack
    read: int
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """The three parts of a vision-language model.

    Args:
        encoder: blocks of the image encoder.
        encoder_edges: its parameters outside the blocks: patches, places, norms.
        encoder_read: blocks up to the one whose output is read; gradients reach no further.
        projector: parameters between the two.
        projector_kept: numbers that the projector's backward pass reads, per visual token.
        language_model: blocks of the language model; a norm of width D stands behind them.
        vocab_size: V, rows of the embedding table and of the head.
        is_tied: whether the head is the embedding table.
        others: of an image encoder of several parts, all but the first; ``encoder_edges`` counts for all of them.
    """

    encoder: Stack | ConvStack
    encoder_edges: int
    encoder_read: int
    projector: int
    projector_kept: int
    language_model: Stack
    vocab_size: int
    is_tied: bool
    others: tuple[Beside, ...] = ()

    @property
    def encoders(self) -> tuple[Beside, ...]:
        """All parts of the image encoder."""
        return (Beside(stack=self.encoder, read=self.encoder_read), *self.others)

    @property
    def table(self) -> int:
        """Parameters of the embedding table, and of a head of its own: V x D."""
        return self.vocab_size * self.language_model.width

    @property
    def parameters(self) -> dict[str, int]:
        """Parameters of each part; the head counts to the language model, a tied one once."""
        tables = self.table * (1 if self.is_tied else 2)
        return {
            "encoder": self.encoder_edges + sum(part.stack.parameters for part in self.encoders),
            "projector": self.projector,
            "language_model": tables + self.language_model.parameters + self.language_model.norm_parameters,
        }


def linear(fan_in: int, fan_out: int) -> int:
    """Return the parameters of a matrix with a bias."""
    return fan_in * fan_out + fan_out


def num_read(select_layer: int, num_layers: int) -> int:
    """Return how many blocks lie below a hidden state, by transformers' index: 0 the embeddings, -1 the last block."""
    return select_layer if select_layer >= 0 else num_layers + 1 + select_layer


def clip_stack(*, width: int, inner: int, num_layers: int, num_heads: int, activation: str = "quick_gelu") -> Stack:
    """Return the blocks of CLIP's vision transformer (arXiv:2103.00020)."""
    return Stack(
        width=width,
        inner=inner,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=width // num_heads,
        norm="layer",
        feed_forward="quick_gelu" if activation == "quick_gelu" else "gelu",
        qkv_bias=True,
        out_bias=True,
        inner_bias=True,
    )


def clip_edges(*, width: int, image_size: int, patch_size: int) -> int:
    """Return what CLIP's vision transformer has outside its blocks: class token, patches, places, two norms."""
    num_patches = (image_size // patch_size) ** 2
    return width + 3 * patch_size**2 * width + (num_patches + 1) * width + 2 * 2 * width


LANGUAGE_MODELS: Mapping[str, Mapping[str, bool]] = {
    "llama": {"qkv_bias": False, "qk_norm": False},
    "qwen2": {"qkv_bias": True, "qk_norm": False},
    "qwen3": {"qkv_bias": False, "qk_norm": True},
}
"""Language models whose size has a formula, and what tells them apart."""


def language_stack(spec: Spec, *, model_type: str) -> Stack:
    """Return the blocks of a decoder-only language model.

    Args:
        spec: fields of its transformers configuration.
        model_type: a key of `LANGUAGE_MODELS`.

    Raises:
        ConfigError: if no formula is known for this type.
    """
    if model_type not in LANGUAGE_MODELS:
        raise ConfigError(
            f"`language_model` must be one whose size has a formula ({', '.join(LANGUAGE_MODELS)}), but is "
            f"`{model_type}` instead.{nearest_hint(model_type, LANGUAGE_MODELS)}"
        )
    habits = LANGUAGE_MODELS[model_type]
    width, num_heads = spec["hidden_size"], spec["num_attention_heads"]
    head_dim = spec.get("head_dim") or width // num_heads
    return Stack(
        width=width,
        inner=spec["intermediate_size"],
        num_layers=spec["num_hidden_layers"],
        num_heads=num_heads,
        num_kv_heads=spec.get("num_key_value_heads") or num_heads,
        head_dim=head_dim,
        norm="rms",
        feed_forward="gated",
        qkv_bias=habits["qkv_bias"] or spec.get("attention_bias", False),
        out_bias=spec.get("attention_bias", False),
        inner_bias=spec.get("mlp_bias", False),
        qk_norm=head_dim if habits["qk_norm"] else 0,
    )

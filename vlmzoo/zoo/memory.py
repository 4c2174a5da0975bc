"""How much memory a training step or an answer takes, from the card alone: nothing is built.

Letters: B sequences, T positions of one (text and visual tokens), M targets of the batch, P positions of the image
encoder over the batch, V vocabulary; of the language model D width, L blocks, K key-value heads of width E; Ψ
parameters, Φ those that are trained; e bytes of a number in ``dtype``; n ranks.

What is counted, in bytes on one rank:

- ``weights``: e Ψ, a LoRA's own included. ZeRO 3: e Ψ / n, and the largest piece, which is gathered whole to be used: a
  block, or V D.
- ``gradients``: e Φ. ZeRO 2 and 3: e Φ / n.
- ``optimizer``: AdamW's two float32 moments, 8 Φ; in bfloat16 and float16 also float32 masters, 12 Φ. ZeRO 1 to 3: / n.
  Source: ZeRO, arXiv:1910.02054, sections 3.1 and 5; its K = 12.
- ``activations``: what the backward pass reads: B T times L times `block_bytes` of the language model, likewise P for
  the encoder (nothing of one that does not learn), what projector and last norm read, ``pixel_values`` (float32, and a
  narrower copy), and the head's buffers: three of float32 over one chunk of logits (log-probabilities and two
  gradients), and one in ``dtype`` if that is narrower. With checkpointing a block keeps its input alone, e D, and is
  computed again, one at a time.
  In inference: what the busiest block holds while the prompt is read, beside ``pixel_values`` and embeddings, or the
  logits of the last position.
- ``cache``: in inference the keys and values of every position, 2 L B T K E e.
- ``total``: the most at any moment. In training, beside weights and optimizer, the largest of
  (1) all activations, when the loss is known and no gradient is;
  (2) the head's gradient (twice, where a chunk's is added in place to those before it) and the activations without its
  buffers, or these, the gradient and what a block works with;
  (3) the gradients of head and blocks, the encoder's activations, and what a block of it works with;
  (4) all gradients, and e V D more for the second share of a tied table;
  (5) all gradients and the update's buffers: in bfloat16 a float32 copy of them, else two of the largest tensor.
  Where a step takes several micro-batches, all gradients stand at (1) to (3).

Not counted: the framework's own context (some 0.5 GB on CUDA), fragmentation, DeepSpeed's communication buckets
(``reduce_bucket_size`` numbers, twice where communication overlaps), rotary tables, and attention masks, which
sequences of one length do without.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint
from vlmzoo.zoo.activations import Reads, backward_bytes, block_bytes, forward_bytes, norm_bytes
from vlmzoo.zoo.anatomy import Anatomy, Beside, ConvStack, Stack
from vlmzoo.zoo.arithmetic import DEFAULT_IMAGE_SIZE, anatomy_of, visual_of
from vlmzoo.zoo.card import Architecture, NativeArchitecture
from vlmzoo.zoo.trained import Lora, Trainable, Trained
from vlmzoo.zoo.visual import ImageSize, Load

__all__ = ["Lora", "MemoryForecast", "Trainable", "forecast_memory"]

_DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_FP32 = 4


@dataclass(frozen=True, kw_only=True)
class MemoryForecast:
    """Memory on one rank, in bytes; the module's text says what each figure counts.

    Args:
        weights: in the compute dtype.
        gradients: of what is trained.
        optimizer: moments and masters.
        activations: what is computed and must be kept, when it is most.
        cache: keys and values.
        total: the most at any moment; less than the sum where gradients come as activations go.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    cache: int
    total: int

    def to_dict(self) -> dict[str, int]:
        """Return plain values that JSON can hold."""
        return asdict(self)


def forecast_memory(
    architecture: Architecture | NativeArchitecture,
    *,
    mode: Literal["training", "inference"] = "training",
    dtype: str = "bfloat16",
    trainable: Trainable = "all",
    batch_size: int = 1,
    text_tokens: int = 512,
    target_tokens: int | None = None,
    image_sizes: Sequence[ImageSize] = (DEFAULT_IMAGE_SIZE,),
    zero_stage: int = 0,
    world_size: int = 1,
    accumulates: bool = False,
    activation_checkpointing: bool = False,
    max_chunk_elements: int = 2**24,
) -> MemoryForecast:
    """Forecast the memory of one rank.

    Args:
        architecture: composed or native.
        mode: a step of AdamW, or an answer with its cache; the options of training must be left alone for an answer.
        dtype: of weights and activations: float32, bfloat16 or float16.
        trainable: what learns.
        batch_size: B on this rank.
        text_tokens: text of one sequence; of an answer, prompt and completion.
        target_tokens: of one sequence; None takes all its text.
        image_sizes: (height, width) in pixels of the images of one sequence.
        zero_stage: of ZeRO, 0 to 3.
        world_size: n.
        accumulates: whether a step takes several micro-batches.
        activation_checkpointing: whether blocks are computed again in the backward pass.
        max_chunk_elements: logits in one chunk of the head, as of ``target_logprobs``.

    Raises:
        ConfigError: if an option is out of range or has no effect, or no formula is known for the architecture.
    """
    _check(mode, dtype, zero_stage)
    counts = {"batch_size": batch_size, "text_tokens": text_tokens, "world_size": world_size}
    for name, value in {**counts, "max_chunk_elements": max_chunk_elements}.items():
        if value < 1:
            raise ConfigError(f"`{name}` must be at least 1, but is {value} instead.")
    anatomy, visuals = anatomy_of(architecture), [visual_of(architecture, size) for size in image_sizes]
    load = Load.of(visuals, batch_size, text_tokens, text_tokens if target_tokens is None else target_tokens)
    if mode == "inference":
        if (trainable, zero_stage, accumulates, activation_checkpointing) != ("all", 0, False, False):
            raise ConfigError("An answer trains nothing: leave the options of training alone, or ask for `training`.")
        return _answer(anatomy, load, _DTYPE_BYTES[dtype])
    step = _Step(
        anatomy=anatomy,
        load=load,
        trained=Trained.of(anatomy, trainable),
        e=_DTYPE_BYTES[dtype],
        is_checkpointed=activation_checkpointing,
        chunk=max(1, max_chunk_elements // anatomy.vocab_size),
    )
    return step.forecast(zero_stage, world_size, accumulates)


def _check(mode: str, dtype: str, zero_stage: int) -> None:
    if mode not in ("training", "inference"):
        raise ConfigError(f"`mode` must be training or inference, but is {mode!r} instead.")
    if dtype not in _DTYPE_BYTES:
        hint = nearest_hint(dtype, _DTYPE_BYTES)
        raise ConfigError(f"`dtype` must be one of {', '.join(_DTYPE_BYTES)}, but is {dtype!r} instead.{hint}")
    if zero_stage not in (0, 1, 2, 3):
        raise ConfigError(f"`zero_stage` must be 0, 1, 2 or 3, but is {zero_stage!r} instead.")


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One step of AdamW on one micro-batch."""

    anatomy: Anatomy
    load: Load
    trained: Trained
    e: int
    is_checkpointed: bool
    chunk: int

    def forecast(self, zero_stage: int, world_size: int, accumulates: bool) -> MemoryForecast:
        """Put the moments together."""
        anatomy, trained, e = self.anatomy, self.trained, self.e
        share = [world_size if zero_stage >= stage else 1 for stage in range(4)]  # who divides what: ZeRO's stages
        table, largest_piece = anatomy.table, max(anatomy.table, anatomy.language_model.block_parameters)
        num_parameters = sum(anatomy.parameters.values()) + trained.added
        weights = e * num_parameters // share[3] + e * largest_piece * (zero_stage == 3)
        gradients = e * trained.parameters // share[2]
        optimizer = (8 if e == _FP32 else 12) * trained.parameters // share[1]
        second_share = e * min(table, trained.head) * anatomy.is_tied
        update = _FP32 * trained.parameters // share[1] if e < _FP32 else 2 * e * trained.largest
        of_head, of_blocks = (e * count // share[2] for count in (trained.head, trained.blocks))
        moments = self._moments(of_head, of_blocks, gradients if accumulates else 0)
        return MemoryForecast(
            weights=weights,
            gradients=gradients,
            optimizer=optimizer,
            activations=self._activations()[0],
            cache=0,
            total=weights + optimizer + max(*moments, gradients + second_share, gradients + update),
        )

    def _moments(self, of_head: int, of_blocks: int, standing: int) -> tuple[int, int, int]:
        """The first three moments, given the gradients of the head and of the blocks, and those that stand before."""
        everything, of_language, of_images = self._activations()
        logits = _FP32 * min(self.load.targets, self.chunk) * self.anatomy.vocab_size
        shares = 1 if self.load.targets <= self.chunk else 2  # of the chunks so far, and one more that is added
        working = self._working(self.anatomy.language_model, self.trained.language_reads, self.load.positions)
        behind_head = of_language + of_images + max(shares * of_head + logits, of_head + working)
        reads, parts = self.trained.encoder_reads, self.anatomy.encoders
        in_images = max(self._working(part.stack, reads, self._patches(part)) if reads else 0 for part in parts)
        return (
            everything + standing,
            behind_head + standing,
            of_images + in_images + max(of_head + of_blocks, standing),
        )

    def _activations(self) -> tuple[int, int, int]:
        """All activations; those of the language model without the head; those of projector and encoder."""
        anatomy, load, e = self.anatomy, self.load, self.e
        language, trained = anatomy.language_model, self.trained
        last_norm = norm_bytes(language.norm, language.width, Reads(norms=trained.head > 0), e, feeds=False)
        targets = e * load.targets * language.width * (trained.head > 0)
        blocks = language.num_layers * self._kept(language, trained.language_reads)
        of_language = load.positions * (blocks + last_norm) + targets
        of_images = load.pixel_bytes(e)
        if trained.encoder_reads is not None or trained.projector:
            of_images += e * load.visual_tokens * anatomy.projector_kept
        if trained.encoder_reads is not None:
            for part in anatomy.encoders:
                of_images += self._patches(part) * part.read * self._kept(part.stack, trained.encoder_reads)
        per_logit = 3 * _FP32 + (e if e < _FP32 else 0)
        head = per_logit * min(load.targets, self.chunk) * anatomy.vocab_size
        return of_language + of_images + head, of_language, of_images

    def _patches(self, part: Beside) -> int:
        return round(self.load.patches * part.share)

    def _kept(self, stack: Stack | ConvStack, reads: Reads) -> int:
        return self.e * stack.width if self.is_checkpointed else block_bytes(stack, reads, element_bytes=self.e)

    def _working(self, stack: Stack | ConvStack, reads: Reads, positions: int) -> int:
        again = block_bytes(stack, reads, element_bytes=self.e) if self.is_checkpointed else 0
        return positions * (again + backward_bytes(stack, element_bytes=self.e))


def _answer(anatomy: Anatomy, load: Load, e: int) -> MemoryForecast:
    """Reading a prompt with its images, then one token after another."""
    language = anatomy.language_model
    weights = e * sum(anatomy.parameters.values())
    cache = 2 * language.num_layers * load.positions * language.num_kv_heads * language.head_dim * e
    seeing = load.pixel_bytes(e) + max(
        round(load.patches * part.share) * forward_bytes(part.stack, element_bytes=e) for part in anatomy.encoders
    )
    embeddings = e * language.width  # the model's call holds them while blocks run
    reading = load.pixel_bytes(e) + load.positions * (embeddings + forward_bytes(language, element_bytes=e))
    choosing = load.sequences * anatomy.vocab_size * (e + _FP32)
    return MemoryForecast(
        weights=weights,
        gradients=0,
        optimizer=0,
        activations=max(seeing, reading, choosing),
        cache=cache,
        total=weights + max(seeing, cache + reading, cache + choosing),
    )

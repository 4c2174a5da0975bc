"""What the backward pass of one transformer block reads, in bytes per position.

Source: the accounting of Korthikanti et al., arXiv:2205.05198, section 4.1, done again for the modules of transformers
5, with attention that never holds its weights (``sdpa``, ``flash_attention_2``) and without dropout.

Letters: D, F, A, K, E as in `vlmzoo.zoo.anatomy`; e bytes of a number.
"""

from collections.abc import Collection
from dataclasses import dataclass

from vlmzoo.zoo.anatomy import ConvStack, Stack

__all__ = ["Reads", "backward_bytes", "block_bytes", "forward_bytes", "norm_bytes"]

_FP32 = 4


@dataclass(frozen=True, kw_only=True)
class Reads:
    """What of a block is trained, which decides what its backward pass must read.

    Args:
        linears: names of trained matrices; the input of each is kept.
        norms: whether norms, biases and scales are trained; what each multiplies is kept.
        lora_rank: width of the low-rank detour at each matrix of ``linears``; 0 where the matrix itself is trained.
    """

    linears: frozenset[str] = frozenset()
    norms: bool = False
    lora_rank: int = 0

    @classmethod
    def everything(cls, *stacks: Stack | ConvStack) -> "Reads":
        """Say that all of these blocks is trained."""
        return cls(linears=frozenset(name for stack in stacks for name in stack.linears), norms=True)

    def any_of(self, names: Collection[str]) -> bool:
        """Say whether one of these matrices is trained."""
        return not self.linears.isdisjoint(names)


def block_bytes(stack: Stack | ConvStack, reads: Reads, *, element_bytes: int) -> int:
    """Return what one block keeps of one position until its backward pass.

    - norms: see `norm_bytes`; their output is kept if a matrix behind them is trained.
    - attention: queries A E, keys and values K E each, output A E, and the logarithm of the normaliser, 4 A.
      Packed (Qwen's image encoders): the turned queries and keys, the whole of the packed product (3 A E), of which
      the values are a view, the output, and its copy where the images of a batch are joined: 7 A E.
    - feed-forward: ``gated`` F for the gate before its activation, F after, F beside; ``gelu`` F; ``quick_gelu`` F and
      its sigmoid F. Another F, the input of the last matrix, if that is trained.
      An inner norm keeps its input, F, and two float32 numbers.
    - scores that are held: A for each position that is seen.
    - scales of a block's halves: D each, if trained. LoRA: its rank, at every matrix that it detours.
    - ConvNeXt's block: see `_conv_bytes`.
    """
    if isinstance(stack, ConvStack):
        return _conv_bytes(stack, reads, element_bytes)
    e, inner = element_bytes, stack.inner
    queries, keys = stack.num_heads * stack.head_dim, stack.num_kv_heads * stack.head_dim
    norms = norm_bytes(stack.norm, stack.width, reads, e, feeds=reads.any_of(("q_proj", "k_proj", "v_proj")))
    norms += norm_bytes(stack.norm, stack.width, reads, e, feeds=reads.any_of(("gate_proj", "up_proj")))
    if stack.qk_norm:
        norms += norm_bytes("rms", queries + keys, reads, e, feeds=False)
    joined = queries * ("o_proj" in reads.linears) if stack.packed else 0
    if stack.inner_norm:
        norms += norm_bytes("layer", inner, reads, e, feeds=False)
    attention = e * ((6 * queries + joined) if stack.packed else 2 * queries + 2 * keys) + _FP32 * stack.num_heads
    attention += e * stack.num_heads * stack.scores
    kept_inner = {"gated": 3, "quick_gelu": 2, "gelu": 1}[stack.feed_forward] + ("down_proj" in reads.linears)
    scales = 2 * stack.width if stack.layer_scale and reads.norms else 0
    return norms + attention + e * (kept_inner * inner + scales + reads.lora_rank * len(reads.linears))


def _conv_bytes(stack: ConvStack, reads: Reads, e: int) -> int:
    """Return what a block of ConvNeXt keeps: the norm's input D, GELU's F and, of what is trained, the inputs.

    These are D of the convolution, D of the first matrix, F of the last and D of the scale.
    """
    norm = norm_bytes("layer", stack.width, reads, e, feeds=reads.any_of(("up_proj",)))
    inputs = stack.width * (reads.any_of(("conv",)) + reads.norms) + stack.inner * reads.any_of(("down_proj",))
    return norm + e * (stack.inner + inputs)


def norm_bytes(norm: str, width: int, reads: Reads, element_bytes: int, *, feeds: bool) -> int:
    """Return what a norm keeps of one position.

    ``layer`` keeps its input and two float32 numbers. ``rms`` computes in float32, so it keeps its input in float32
    and, if its scale is trained, what the scale multiplies. Both keep their output if a trained matrix reads it.

    Args:
        norm: ``layer`` or ``rms``.
        width: of the norm's input.
        reads: what is trained.
        element_bytes: e.
        feeds: whether a trained matrix reads the output.
    """
    output = element_bytes * width * feeds
    if norm == "layer":
        return element_bytes * width + 2 * _FP32 + output
    return _FP32 * width + element_bytes * width * reads.norms + output


def forward_bytes(stack: Stack | ConvStack, *, element_bytes: int) -> int:
    """Return what one block holds of one position while it runs and keeps nothing: the larger of its halves.

    - feed-forward: the stream before and behind attention and the norm's output, 3 D; of width F three tensors
      (``gated``: gate, beside, product; ``quick_gelu``: input, its multiple, sigmoid) or two (``gelu``).
    - attention: stream and norm's output, 2 D; queries, keys and values; and while the keys are turned, the turned
      queries and three tensors more. Packed: the turning is done in float32. Scores that are held: biases and scores.
    - ConvNeXt's block: the stream and its copies before and behind the norm, 3 D, and GELU's input and output, 2 F.
    """
    e = element_bytes
    if isinstance(stack, ConvStack):
        return e * (3 * stack.width + 2 * stack.inner)
    queries, keys = stack.num_heads * stack.head_dim, stack.num_kv_heads * stack.head_dim
    feed_forward = e * (3 * stack.width + (2 if stack.feed_forward == "gelu" else 3) * stack.inner)
    attention = e * (2 * stack.width + queries + 2 * keys + 2 * stack.num_heads * stack.scores)
    turning = queries + 3 * keys
    if not stack.packed:
        return max(feed_forward, attention + e * turning)
    copies = queries + keys if e < _FP32 else 0
    return max(feed_forward, attention + _FP32 * (turning + copies))


def backward_bytes(stack: Stack | ConvStack, *, element_bytes: int) -> int:
    """Return what gradients within one block take of one position: of the stream 2 D, of the feed-forward part 3 F."""
    return element_bytes * (2 * stack.width + 3 * stack.inner)

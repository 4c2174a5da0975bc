"""Gradient alignment: how much a step on SIMPLE images lowers the loss on HARD images.

Source: S2H, arXiv:2501.02669, section 6. **This is our reconstruction**: the released code holds no such analysis, and
the definition is read from the paper's description. With g_i the gradient of one example's loss,

    score = mean <g_i, g_j> over SIMPLE i and HARD j / mean <g_j, g_j'> over HARD j and j'
          = <mean g_S, mean g_H> / |mean g_H|^2,

which is, to first order, what a step on SIMPLE examples takes from the HARD loss, relative to an equally long step on
HARD examples: 1 is as good.

Letters: P parameters (all that are looked at), n examples of a level, K buckets of a sketch.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from vlmzoo.errors import ConfigError, DataError

__all__ = ["GradientAlignment", "GradientSums", "align_gradients", "choose_parameters", "example_gradients", "sketch"]

_CHUNK = 1 << 22  # elements that a sketch looks at together


@dataclass(frozen=True, kw_only=True)
class GradientAlignment:
    """What the gradients of two levels say of each other.

    Args:
        score: as above; it is biased, since the denominator holds each example's product with itself.
        score_offdiag: the same with products of different HARD examples only, which is unbiased; infinite or of the
            wrong sign where HARD gradients do not agree among themselves.
        cosine_of_means: between the two mean gradients.
        mean_pairwise_cosine: over all pairs of a SIMPLE and a HARD example.
        mean_inner_simple_hard: the numerator.
        mean_inner_hard_hard: the denominator.
        mean_inner_hard_hard_offdiag: the denominator without the diagonal.
        norm_mean_simple: of the mean SIMPLE gradient.
        norm_mean_hard: of the mean HARD gradient.
        num_simple: examples.
        num_hard: examples.
    """

    score: float
    score_offdiag: float
    cosine_of_means: float
    mean_pairwise_cosine: float
    mean_inner_simple_hard: float
    mean_inner_hard_hard: float
    mean_inner_hard_hard_offdiag: float
    norm_mean_simple: float
    norm_mean_hard: float
    num_simple: int
    num_hard: int

    def to_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


@dataclass
class GradientSums:
    """What is kept of the gradients of one level: a few vectors, however many examples there are.

    Args:
        total: their sum, ``(P,)`` or ``(K,)``, in float64.
        directions: the sum of the gradients scaled to length 1, likewise.
        squares: the sum of their squared lengths.
        num: how many.
    """

    total: Tensor
    directions: Tensor
    squares: float = 0.0
    num: int = 0

    @classmethod
    def of(cls, gradients: Iterable[Tensor]) -> "GradientSums":
        """Add up gradients, ``(P,)`` each; one that is zero has no direction.

        Raises:
            DataError: if there is none, or one is not finite.
        """
        sums: GradientSums | None = None
        for gradient in gradients:
            vector = gradient.detach().double().reshape(-1)
            if not bool(torch.isfinite(vector).all()):
                raise DataError(f"Gradient {sums.num if sums else 0} must be finite, but is not; look at that example.")
            if sums is None:
                sums = cls(torch.zeros_like(vector), torch.zeros_like(vector))
            square = float(vector @ vector)
            sums.total += vector
            if square:
                sums.directions += vector / square**0.5
            sums.squares += square
            sums.num += 1
        if sums is None:
            raise DataError("There must be at least one gradient of each level, but there is none.")
        return sums


def align_gradients(simple: Iterable[Tensor], hard: Iterable[Tensor]) -> GradientAlignment:
    """Compare the gradients of SIMPLE examples with those of HARD ones; neither is held whole.

    Args:
        simple: ``(P,)`` each, or sketches of it.
        hard: likewise, at least two for the figures without the diagonal, which are nan otherwise.

    Raises:
        DataError: if a level has no gradient, or one is not finite.
    """
    of_simple, of_hard = GradientSums.of(simple), GradientSums.of(hard)
    mean_simple, mean_hard = of_simple.total / of_simple.num, of_hard.total / of_hard.num
    inner, square = float(mean_simple @ mean_hard), float(mean_hard @ mean_hard)
    pairs = of_hard.num * (of_hard.num - 1)
    offdiag = (of_hard.num**2 * square - of_hard.squares) / pairs if pairs else float("nan")
    norm_simple, norm_hard = float(mean_simple.norm()), float(mean_hard.norm())
    return GradientAlignment(
        score=_ratio(inner, square),
        score_offdiag=_ratio(inner, offdiag),
        cosine_of_means=_ratio(inner, norm_simple * norm_hard),
        mean_pairwise_cosine=float(of_simple.directions @ of_hard.directions) / (of_simple.num * of_hard.num),
        mean_inner_simple_hard=inner,
        mean_inner_hard_hard=square,
        mean_inner_hard_hard_offdiag=offdiag,
        norm_mean_simple=norm_simple,
        norm_mean_hard=norm_hard,
        num_simple=of_simple.num,
        num_hard=of_hard.num,
    )


def choose_parameters(model: nn.Module, patterns: Sequence[str] = ("*",)) -> dict[str, nn.Parameter]:
    """Return the parameters whose names match a pattern of the shell's kind, e.g. ``language_model.*.layers.3.*``.

    Raises:
        ConfigError: if a pattern matches none.
    """
    named = dict(model.named_parameters())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in named):
            raise ConfigError(f"`parameters` must match parameters of the model, but `{pattern}` matches none.")
    return {name: p for name, p in named.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}


def example_gradients(
    losses: Iterable[Callable[[], Tensor]],
    parameters: Mapping[str, nn.Parameter],
    *,
    sketch_dim: int | None = None,
    seed: int = 0,
) -> Iterator[Tensor]:
    """Iterate over the gradients of single examples.

    Args:
        losses: one function for each example, which runs the model and returns ``()``.
        parameters: what the gradient is taken of, by name.
        sketch_dim: K; None gives the whole gradient.
        seed: of the sketch; equal ones can be compared.

    Yields:
        ``(P,)`` or ``(K,)``.
    """
    for loss in losses:
        grads = torch.autograd.grad(loss(), list(parameters.values()), allow_unused=True, materialize_grads=True)
        named = dict(zip(parameters, grads, strict=True))
        yield torch.cat([g.reshape(-1) for g in grads]) if sketch_dim is None else sketch(named, sketch_dim, seed=seed)


def sketch(tensors: Mapping[str, Tensor], num_buckets: int, *, seed: int = 0) -> Tensor:
    """Add up the elements of some tensors in K buckets, each with a random sign; inner products are kept on average.

    Bucket and sign of an element depend on the seed, the tensor's name and the place alone, so no matrix is held, and
    sketches made at different times can be compared. The error of an inner product of a and b has a variance of at
    most (|a|^2 |b|^2 + <a, b>^2) / K.

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning, arXiv:0902.2206, section 2.

    Args:
        tensors: by name.
        num_buckets: K.
        seed: of buckets and signs.

    Returns:
        ``(K,)``, in float64.

    Raises:
        ConfigError: if K is below 1.
    """
    if num_buckets < 1:
        raise ConfigError(f"`sketch_dim` must be at least 1, but is {num_buckets} instead; 4096 and more are useful.")
    buckets = torch.zeros(num_buckets, dtype=torch.float64)
    for name, tensor in tensors.items():
        digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=7).digest()
        draws = torch.Generator().manual_seed(int.from_bytes(digest))
        for part in tensor.detach().reshape(-1).split(_CHUNK):
            codes = torch.randint(2 * num_buckets, part.shape, generator=draws)
            values = part.double().cpu() * (1 - 2 * (codes % 2))
            buckets.index_add_(0, codes // 2, values)
    return buckets


def _ratio(above: float, below: float) -> float:
    return above / below if below else float("nan")

"""Small layers that mask decoders share, under the names of segment-anything's parameters.

Letters: B rows, T tokens, D width, (h, w) grid.
"""

from collections.abc import Callable
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ChannelNorm", "FeedForward", "Perceptron"]


class ChannelNorm(nn.Module):
    """Layer norm over the channels of a map ``(B, D, h, w)``.

    Args:
        dim: D.
        eps: added to the variance.
    """

    def __init__(self, dim: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm_eps = eps
        norm = nn.LayerNorm(dim)
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise each cell of ``(B, D, h, w)``."""
        cells = maps.movedim(1, -1)
        return F.layer_norm(cells, self.weight.shape, self.weight, self.bias, self.norm_eps).movedim(-1, 1)


class FeedForward(nn.Module):
    """Two linear layers of a transformer block: ``(..., D)`` to ``(..., D)``.

    Args:
        dim: D.
        inner: width between the two.
        activation: between the two.
    """

    def __init__(self, dim: int, *, inner: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, inner)
        self.lin2 = nn.Linear(inner, dim)
        self.activation = activation

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform each token."""
        return self.lin2(self.activation(self.lin1(tokens)))


class Perceptron(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        in_dim: width of the input.
        inner: width between layers.
        out_dim: width of the output.
        num_layers: of them all.
    """

    def __init__(self, in_dim: int, *, inner: int, out_dim: int, num_layers: int = 3) -> None:
        super().__init__()
        widths = [in_dim, *[inner] * (num_layers - 1), out_dim]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, values: Tensor) -> Tensor:
        """Map ``(..., in_dim)`` to ``(..., out_dim)``."""
        for layer in self.layers[:-1]:
            values = F.relu(layer(values))
        return self.layers[-1](values)

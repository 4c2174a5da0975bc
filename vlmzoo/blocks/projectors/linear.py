"""The single linear layer of the first LLaVA, of SEAL and of LISA."""

from torch import Tensor, nn

from vlmzoo.blocks.projectors import PROJECTORS
from vlmzoo.errors import ConfigError

__all__ = ["IdentityProjector", "LinearProjector"]


@PROJECTORS.register("linear", source="LLaVA, arXiv:2304.08485, section 4.1", tiny={"in_dim": 6, "out_dim": 8})
class LinearProjector(nn.Linear):
    """One linear layer: ``(B, N, C)`` to ``(B, N, D)``.

    Args:
        in_dim: C.
        out_dim: D.
    """

    def __init__(self, *, in_dim: int, out_dim: int) -> None:
        super().__init__(in_dim, out_dim)


@PROJECTORS.register("identity", source="LLaVA's code, `mm_projector_type: identity`", tiny={"in_dim": 8, "out_dim": 8})
class IdentityProjector(nn.Identity):
    """Nothing, for encoders that already speak the language model's width.

    Args:
        in_dim: C.
        out_dim: D, equal to C.

    Raises:
        ConfigError: if the widths differ.
    """

    def __init__(self, *, in_dim: int, out_dim: int) -> None:
        if in_dim != out_dim:
            raise ConfigError(
                f"projector `identity` needs equal widths, but the encoder gives {in_dim} and the language model takes "
                f"{out_dim}; use `linear`."
            )
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return ``(B, N, D)`` as it is."""
        return input

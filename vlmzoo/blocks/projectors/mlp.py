"""The multi-layer projectors of LLaVA-1.5 and Eagle, `mlp1x_gelu` to `mlp4x_gelu`."""

from torch import nn

from vlmzoo.blocks.projectors import PROJECTORS

__all__ = ["MlpProjector"]


class MlpProjector(nn.Sequential):
    """Linear layers with exact GELU between them: ``(B, N, C)`` to ``(B, N, D)``.

    The layers are numbered as in the authors' ``mm_projector``: 0, 2, 4, … with the activations between.

    Args:
        in_dim: C.
        out_dim: D, also the width of the inner layers.
        num_layers: linear layers.
    """

    def __init__(self, *, in_dim: int, out_dim: int, num_layers: int) -> None:
        layers: list[nn.Module] = [nn.Linear(in_dim, out_dim)]
        for _ in range(num_layers - 1):
            layers += [nn.GELU(), nn.Linear(out_dim, out_dim)]
        super().__init__(*layers)


def _register(num_layers: int) -> None:
    def build(*, in_dim: int, out_dim: int) -> MlpProjector:
        return MlpProjector(in_dim=in_dim, out_dim=out_dim, num_layers=num_layers)

    build.__qualname__ = f"MlpProjector[{num_layers}]"
    layers = "One linear layer" if num_layers == 1 else f"{num_layers} linear layers with exact GELU between them"
    build.__doc__ = f"{layers}: ``(B, N, C)`` to ``(B, N, D)``."
    PROJECTORS.register(
        f"mlp{num_layers}x_gelu",
        source="LLaVA-1.5, arXiv:2310.03744, section 3.3",
        tiny={"in_dim": 6, "out_dim": 8},
    )(build)


for _num_layers in (1, 2, 3, 4):
    _register(_num_layers)

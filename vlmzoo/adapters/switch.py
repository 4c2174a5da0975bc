"""The switch adapter: a model that answers, or says what it could not see and answers when it is shown that.

    model = build_model("llava-1.5-7b", adapters=["switch", {"type": "lora"}])
    answer = ask(model, image, "What colour is the flag?")          # vlmzoo.models.switching
    answer.missing                                                  # ["flag"]: look for it
    ask(model, image, question, objects=[FocusObject("flag", box)])

On LLaVA's bases images and objects have a long form, the base's own tokens, and a short one, which a perceiver makes;
the processor expands placeholders accordingly. On other bases crops of objects are further images.

Letters: I pictures, N visual tokens, Q latents, C channels, D width of a token.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vlmzoo.adapters import ADAPTERS
from vlmzoo.adapters._switch_inputs import INPUT_NAME, SwitchInputs
from vlmzoo.adapters.contract import Adapter, Host
from vlmzoo.blocks.projectors import PROJECTORS
from vlmzoo.data.adapter_inputs import AdapterInputs
from vlmzoo.errors import ConfigError, ShapeError

__all__ = ["SwitchAdapter"]

_WITH_FORMS = ("llava",)
_SIZES = {"depth": 6, "head_dim": 96, "num_heads": 16, "num_latents": 32}


@ADAPTERS.register(
    "switch",
    source="V*, arXiv:2312.14135, section 3.1; the switch adapter of FaST, arXiv:2408.08862",
    tiny={"depth": 1, "head_dim": 8, "num_heads": 2, "num_latents": 3},
)
class SwitchAdapter(Adapter):
    """A second projector that gives an image, or an object, in few tokens; and the protocol of asking twice.

    Args:
        depth: layers of the resampler.
        head_dim: width of a head of it.
        num_heads: of each of its attentions.
        num_latents: Q, tokens of the short form.
        host: the base.

    Raises:
        ConfigError: if a size is not positive, or is given for a base without a short form.
    """

    shapes_images: ClassVar[bool] = True

    def __init__(
        self,
        *,
        depth: int = _SIZES["depth"],
        head_dim: int = _SIZES["head_dim"],
        num_heads: int = _SIZES["num_heads"],
        num_latents: int = _SIZES["num_latents"],
        host: Host,
    ) -> None:
        super().__init__(host=host)
        sizes = {"depth": depth, "head_dim": head_dim, "num_heads": num_heads, "num_latents": num_latents}
        self.check_host(host, **sizes)
        self.has_forms = host.family in _WITH_FORMS
        self.num_latents = num_latents
        self.input_names = (INPUT_NAME,) if self.has_forms else ()
        self._sizes = sizes
        self.projector: nn.Module | None = None

    @classmethod
    def check_host(cls, host: Host, **options: Any) -> None:
        """Check the sizes; they are of the short form, which not every base has.

        Raises:
            ConfigError: naming the option.
        """
        for name, value in options.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"adapter `switch`: `{name}` must be a positive whole number, but is {value!r}.")
            if host.family not in _WITH_FORMS and value != _SIZES[name]:
                raise ConfigError(
                    f"adapter `switch`: `{name}` must be left out on a base of the family `{host.family}`, whose "
                    f"images have no short form that it could size, but is {value}."
                )

    def attach(self, model: nn.Module) -> None:
        """Build the perceiver, as wide as the base's encoder."""
        if not self.has_forms:
            return
        weight: Any = next(model.parameters())
        channels: Any = model.get_submodule("encoder")
        with torch.device(weight.device):
            projector = PROJECTORS.build(
                {"type": "perceiver", **self._sizes}, in_dim=channels.out_channels, out_dim=self.host.hidden_size
            )
        self.projector = projector.to(weight.dtype)

    def make_inputs(self) -> AdapterInputs:
        """Return what reads the forms of images."""
        return SwitchInputs(num_latents=self.num_latents if self.has_forms else None)

    def visual_tokens(
        self, feature_maps: Sequence[Tensor], project: Callable[[list[Tensor]], Tensor], inputs: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Give each image its long or its short form.

        Args:
            feature_maps: one map ``(I, C, h, w)``.
            project: the base's own projector, ``(I, N, D)``.
            inputs: ``switch_is_long`` ``(I,)``; without it all are long.

        Returns:
            For each image ``(N, D)`` or ``(Q, D)``.

        Raises:
            ShapeError: if forms and images differ in number.
        """
        maps = feature_maps[0]
        is_long = inputs.get(INPUT_NAME, torch.ones(len(maps), dtype=torch.bool, device=maps.device)).bool()
        if len(is_long) != len(maps):
            raise ShapeError(
                f"`{INPUT_NAME}` must tell the form of each of the {len(maps)} images, but tells {len(is_long)}; let "
                "the model's processor make it. Tiled images have no short form."
            )
        resampler = self.projector
        assert resampler is not None
        cells = maps.flatten(2).transpose(1, 2)  # (I, N, C)
        long = self._at_least_one(is_long, lambda chosen: project([maps[chosen]]))
        short = self._at_least_one(~is_long, lambda chosen: resampler(cells[chosen]))
        idle = 0.0 * sum(made.sum() for made, is_idle in (long, short) if is_idle)
        rows = {True: iter(long[0]), False: iter(short[0])}
        tokens = [next(rows[kind]) for kind in is_long.tolist()]
        return [own + idle for own in tokens] if self.training else tokens

    def _at_least_one(self, is_chosen: Tensor, make: Callable[[Tensor], Tensor]) -> tuple[Tensor, bool]:
        """Run a projector on the images of its form; in training on one if there is none, so that all ranks do."""
        places = is_chosen.nonzero().flatten()
        is_idle = not len(places)
        if is_idle and self.training:
            places = torch.zeros(1, dtype=torch.long, device=is_chosen.device)
        return make(places), is_idle

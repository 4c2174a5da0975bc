"""The search adapter: each ``[LOC]`` that the model says becomes boxes with scores and a heat map (arXiv:2312.14135).

    model = build_model("llava-1.5-7b", adapters=["search", {"type": "lora"}])
    sample = Sample(
        messages=[user("Please locate the cup in this image.", num_images=1), assistant("Sure, [LOC].")],
        images=[picture],
        boxes=[[Box.from_xywh((40, 80, 30, 20), frame=Frame.original("cups/1.jpg", width=640, height=480))]],
    )

``vlmzoo.agents.locating`` asks such a model about the patches of a large image, as V* search wants it.

Letters: B sequences, T text positions, I pictures, K tokens, A width of a query, E width of a prompt, D width of a
token, Q cells of the detector's grid, P pixels of all maps, S side of the detector's input, (H, W) pixels of an image.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlmzoo.adapters import ADAPTERS
from vlmzoo.adapters._search_inputs import INPUT_NAMES, SearchInputs
from vlmzoo.adapters._seg_images import ImageFeatures
from vlmzoo.adapters._token_images import encoded_pictures, images_of_tokens, places_among
from vlmzoo.adapters.contract import Adapter, AdapterContext, GenerationContext, Host
from vlmzoo.adapters.tokens import AROUND_IMAGE
from vlmzoo.blocks.decoders.owlvit import OwlVitDetector
from vlmzoo.blocks.decoders.scratch import start_from_scratch, widen
from vlmzoo.data.adapter_inputs import AdapterInputs
from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.registry import nearest_hint

__all__ = ["SearchAdapter"]

_TINY_DETECTOR = {
    "image_size": 64,
    "patch_size": 16,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_layers": 2,
    "num_heads": 2,
    "query_dim": 16,
    "prompt_dim": 16,
    "decoder_mlp_dim": 32,
    "decoder_heads": 2,
    "quality_dim": 16,
}


@ADAPTERS.register(
    "search",
    source="V*, arXiv:2312.14135, section 3.2; penghao-wu/vstar@4ede664, its search model",
    tiny={"detector": _TINY_DETECTOR},
)
class SearchAdapter(Adapter):
    """A token, layers from its hidden state to a query and a prompt, and a detector with an image encoder of its own.

    Args:
        detector: arguments of ``OwlVitDetector``; none are those of OWL-ViT base with patches of 16 pixels.
        weights: a file or folder with OWL-ViT's published weights to start from; None starts from random ones. A saved
            model does not need it any more.
        from_scratch: whether detector, queries and prompts start wider, for a detector that has no weights to start
            from and learns with its image encoder (`start_from_scratch`).
        token: ``[LOC]``.
        image_tokens: whether ``<im_start>`` and ``<im_end>`` are added behind it, as SEAL does; a chat template such as
            ``llava_v1`` puts them around images.
        train_box_head: whether boxes learn; the authors leave OWL-ViT's as they are.
        train_encoder: whether the detector's image encoder learns, too.
        cache_size: pictures whose features are kept, by content.
        encoder_chunk: pictures in one call of the image encoder; 0 for all.
        offload_encoder: whether the image encoder waits on the CPU between calls.
        host: the base.

    Raises:
        ConfigError: if an option cannot be.
    """

    special_tokens: Sequence[str] = ("[LOC]",)
    input_names: Sequence[str] = INPUT_NAMES
    hidden_layers: Sequence[int] = (-1,)
    loss_terms: Mapping[str, Mapping[str, Any]] = {
        "bce": {"type": "mask_bce", "weight": 2.0, "of": "heat"},
        "dice": {"type": "mask_dice", "weight": 0.5, "of": "heat"},
        "boxes": {"type": "detection", "weight": 0.1},
    }
    listens: ClassVar[bool] = True
    transient_options: ClassVar[Sequence[str]] = ("weights",)
    freezes_base: ClassVar[bool] = False

    def __init__(
        self,
        *,
        detector: Mapping[str, Any] | None = None,
        weights: str | None = None,
        from_scratch: bool = False,
        token: str = "[LOC]",
        image_tokens: bool = False,
        train_box_head: bool = False,
        train_encoder: bool = False,
        cache_size: int = 8,
        encoder_chunk: int = 0,
        offload_encoder: bool = False,
        host: Host,
    ) -> None:
        super().__init__(host=host)
        self.check_host(
            host,
            detector=detector,
            weights=weights,
            from_scratch=from_scratch,
            cache_size=cache_size,
            encoder_chunk=encoder_chunk,
        )
        self.decoder = OwlVitDetector(**dict(detector or {}))
        width = host.hidden_size
        self.text_hidden_fcs_det = _projection(width, self.decoder.query_dim)
        self.text_hidden_fcs_seg = _projection(width, self.decoder.prompt_dim)
        if from_scratch:
            start_from_scratch(self.decoder)
            for first, _, last in (self.text_hidden_fcs_det, self.text_hidden_fcs_seg):
                widen(first, gain=1.0)
                widen(last, gain=math.sqrt(2.0))  # half of the values before it are 0
        self.special_tokens = (token, *(AROUND_IMAGE if image_tokens else ()))
        learning = [*self.decoder.trainable_parts]
        learning += ["owlvit.box_head."] if train_box_head else []
        learning += self.decoder.encoder_parts if train_encoder else []
        self.trainable = ("text_hidden_fcs_", *(f"decoder.{part}" for part in learning))
        self.features = ImageFeatures(capacity=cache_size, chunk=encoder_chunk, offload=offload_encoder)
        self._weights = weights

    @classmethod
    def check_host(cls, host: Host, **options: Any) -> None:
        """Check the detector's arguments and the sizes.

        Raises:
            ConfigError: naming the option.
        """
        _check_detector(options.get("detector"))
        if options.get("from_scratch") and options.get("weights") is not None:
            raise ConfigError(
                f"adapter `search`: `from_scratch` has no effect beside `weights` ({options['weights']!r}); leave one "
                "out."
            )
        for name in ("cache_size", "encoder_chunk"):
            value = options.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ConfigError(f"adapter `search`: `{name}` must be a whole number of 0 or more, but is {value!r}.")

    @property
    def token(self) -> str:
        """``[LOC]``."""
        return self.special_tokens[0]

    def starting_weights(self) -> Mapping[str, str]:
        """Return where OWL-ViT's published weights lie."""
        return {} if self._weights is None else {"decoder.owlvit": self._weights}

    def make_inputs(self) -> AdapterInputs:
        """Return what prepares pictures, boxes and masks."""
        return SearchInputs(token=self.token, size=self.decoder.image_size)

    def forward(self, context: AdapterContext) -> dict[str, Tensor]:
        """Look for what all ``[LOC]`` tokens in the batch mean.

        Returns:
            ``box_logits`` ``(K, Q)``, ``boxes`` ``(K, Q, 4)`` (centre, width and height as fractions of the image) and
            ``heat_logits`` ``(P,)``, the maps of the sizes that the inputs want, one after the other, all in float32.

        Raises:
            ShapeError: if tokens and pictures differ in number.
        """
        if context.input_ids is None:
            raise ShapeError("The search adapter finds its tokens in `input_ids`; do not give `inputs_embeds` alone.")
        is_loc = context.input_ids[:, 1:] == context.token_ids[self.token]
        states = context.hidden_states[-1][:, :-1][is_loc]  # (K, D), those that predict the token
        images, sizes = context.inputs["search_images"], context.inputs["search_heat_sizes"]
        if len(images) != len(states):
            raise ShapeError(
                f"`search_images` must name the picture of each of the {len(states)} {self.token} tokens in "
                f"`input_ids`, but has {len(images)} entries; let the model's processor make both, and never truncate."
            )
        is_idle = not len(states)
        if is_idle and not self.training:
            nothing = states.new_zeros
            num_cells = self.decoder.grid_size**2
            return {
                "box_logits": nothing(0, num_cells).float(),
                "boxes": nothing(0, num_cells, 4).float(),
                "heat_logits": nothing(0).float(),
            }
        if is_idle:  # every rank runs every module equally often, and has the same graph, down to the hidden states
            states, images = context.hidden_states[-1][:1, 0], images.new_zeros(1)
        logits, boxes, heat = self._look(states, images, context.inputs)
        if is_idle:
            return {"box_logits": logits[:0], "boxes": boxes[:0], "heat_logits": heat.flatten()[:0]}
        maps = [_resized(one, size).flatten() for one, size in zip(heat, sizes.tolist(), strict=True)]
        return {"box_logits": logits, "boxes": boxes, "heat_logits": torch.cat(maps)}

    @torch.no_grad()
    def after_generation(self, context: GenerationContext) -> dict[str, Any]:
        """Turn the ``[LOC]`` tokens of finished sequences into detections.

        Returns:
            ``loc_columns``: for each row where in ``sequences`` its tokens stand, prompts included; and for each of
            them ``loc_boxes`` ``(Q, 4)``, ``loc_probabilities`` ``(Q,)`` and ``loc_heat`` ``(H, W)``, never negative.
        """
        made: list[list[tuple[int, Tensor, Tensor, Tensor]]] = [[] for _ in context.sequences]
        places, states = context.places[self.token], context.states[self.token]
        images = images_of_tokens(
            context, token=self.token, last=context.inputs["search_last"], named=context.inputs["search_images"]
        )
        kept = [number for number, image in enumerate(images) if image >= 0]
        if kept:
            wanted = torch.tensor([images[number] for number in kept], device=states.device)
            found = self.locate(states[kept], wanted, context.inputs)
            for number, detection in zip(kept, found, strict=True):
                row, column = places[number].tolist()
                made[row].append((column, *detection))
        names = ("loc_columns", "loc_boxes", "loc_probabilities", "loc_heat")
        return {name: [[one[place] for one in row] for row in made] for place, name in enumerate(names)}

    @torch.no_grad()
    def locate(
        self, states: Tensor, images: Tensor, inputs: Mapping[str, Tensor]
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Turn hidden states that predict ``[LOC]`` into detections.

        Args:
            states: ``(K, D)``.
            images: ``(K,)``, which of the pictures each one means.
            inputs: the adapter's own inputs.

        Returns:
            For each its boxes ``(Q, 4)``, probabilities ``(Q,)`` and heat map ``(H, W)``, never negative.
        """
        logits, boxes, heat = self._look(states, images, inputs)
        sizes = inputs["search_sizes"][images].tolist()
        maps = [_resized(one, size).clamp(min=0) for one, size in zip(heat, sizes, strict=True)]
        return list(zip(boxes, logits.sigmoid(), maps, strict=True))

    def _look(self, states: Tensor, images: Tensor, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits ``(K, Q)``, boxes ``(K, Q, 4)`` and low-resolution heat maps ``(K, h, w)``, in float32."""
        encoded = encoded_pictures(
            self.features,
            self.decoder,
            inputs["search_pixels"],
            inputs["search_keys"],
            used=images.unique(),
            side=self.decoder.image_size,
        )
        features = self.decoder.features(encoded)[places_among(images)]
        logits, boxes = self.decoder.detect(features, self.text_hidden_fcs_det(states))
        heat = self.decoder.heat(features, self.text_hidden_fcs_seg(states))
        return logits.float(), boxes.float(), heat[:, 0].float()


def _projection(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))


def _resized(heat: Tensor, size: Sequence[int]) -> Tensor:
    """Scale a map ``(h, w)`` to a picture: ``(H, W)``; the picture was stretched, so the map is, too."""
    scaled = F.interpolate(heat[None, None], size=(size[0], size[1]), mode="bilinear", align_corners=False)
    return scaled[0, 0]


def _check_detector(detector: Any) -> None:
    """Check what is said of the detector against its constructor.

    Raises:
        ConfigError: if an argument is unknown.
    """
    if detector is not None and not isinstance(detector, Mapping):
        raise ConfigError(f"adapter `search`: `detector` must be a mapping, but is {detector!r} instead.")
    known = inspect.signature(OwlVitDetector).parameters
    for name in detector or {}:
        if name not in known:
            raise ConfigError(f"adapter `search`: `detector` takes no `{name}`.{nearest_hint(str(name), known)}")

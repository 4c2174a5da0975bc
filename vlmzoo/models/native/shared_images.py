"""An image that several rows of a batch show, encoded once by a native base.

Letters: N visual tokens of an image, D width of a token.
"""

from typing import Any

from torch import Tensor

from vlmzoo.errors import ShapeError

__all__ = ["show_again"]


def show_again(inner: Any, inputs: dict[str, Any], image_index: Tensor) -> None:
    """Encode the images among the inputs of a base's inner model, and put the features in their place.

    Args:
        inner: transformers' model without its head.
        inputs: changed: ``pixel_values`` becomes ``mm_encoder_outputs``, and ``image_grid_thw`` has a line for each
            image shown.
        image_index: ``(shown,)``, which image stands at each place of one.

    Raises:
        ShapeError: if there is no image.
    """
    pixel_values = inputs.pop("pixel_values", None)
    if pixel_values is None:
        raise ShapeError("`image_index` needs the `pixel_values` of the images that it names, but there are none.")
    grid = inputs.get("image_grid_thw")
    told = {} if grid is None else {"image_grid_thw": grid}
    outputs = inner.get_image_features(pixel_values=pixel_values, return_dict=True, **told)
    outputs.pooler_output = _picked(outputs.pooler_output, image_index)
    deep = getattr(outputs, "deepstack_features", None)
    if deep is not None:  # Qwen3-VL's, which go to layers of the decoder
        outputs.deepstack_features = [_picked(layer, image_index) for layer in deep]
    if grid is not None:
        inputs["image_grid_thw"] = grid[image_index]
    inputs["mm_encoder_outputs"] = {"image": outputs}


def _picked(features: Any, image_index: Tensor) -> Any:
    """Return the features of the images shown: a tensor ``(shown, N, D)``, or a list of ``(N, D)``."""
    return features[image_index] if isinstance(features, Tensor) else [features[i] for i in image_index.tolist()]

"""Pictures by a diffusion model in this process, by its address: the package is optional. Not run until a GPU has."""

import importlib
from typing import Any

from vlmzoo.services.negative_images import NEGATIVE_IMAGES, NegativeImageSource

__all__ = ["build_diffusers"]


@NEGATIVE_IMAGES.register(
    "diffusers", source="OViP, arXiv:2505.15963, which renders with FLUX.1-dev", tiny={"path": "tiny"}
)
def build_diffusers(
    *,
    path: str = "black-forest-labs/FLUX.1-dev",
    dtype: str = "bfloat16",
    device: str = "cuda",
    size_px: tuple[int, int] | list[int] = (384, 384),
    num_inference_steps: int = 40,
    guidance_scale: float = 7.5,
    options: dict[str, Any] | None = None,
) -> NegativeImageSource:
    """Build the source of ``vlmzoo.integrations.diffusers``; defaults are OViP's, but for the seed, which is a pair's.

    Args:
        path: folder or Hub id; FLUX.1-dev is for non-commercial use.
        dtype: of the weights.
        device: where it runs.
        size_px: width and height.
        num_inference_steps: of the sampler.
        guidance_scale: towards the description.
        options: further arguments of the pipeline, e.g. ``{max_sequence_length: 512}``.

    Raises:
        MissingExtraError: if diffusers is not installed.
    """
    source = importlib.import_module("vlmzoo.integrations.diffusers").DiffusersImages
    call = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale, **(options or {})}
    return source(path=path, dtype=dtype, device=device, size_px=(size_px[0], size_px[1]), call=call)

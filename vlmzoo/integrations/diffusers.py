"""A diffusion pipeline as a source of negative images. Not run: written after its documentation, without a GPU."""

import importlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from vlmzoo.errors import MissingExtraError, ServiceError
from vlmzoo.services.negative_images import Rendered, RenderItem

__all__ = ["DiffusersImages"]


class DiffusersImages:
    """Renders one picture after the other; its arguments are those of ``services/negative_images/diffusers.py``.

    Args:
        path: folder or Hub id.
        dtype: of the weights.
        device: where it runs.
        size_px: width and height.
        call: further arguments of the pipeline.

    Raises:
        MissingExtraError: if diffusers is not installed.
    """

    def __init__(
        self, *, path: str, dtype: str, device: str, size_px: tuple[int, int], call: Mapping[str, Any]
    ) -> None:
        try:
            self._diffusers: Any = importlib.import_module("diffusers")
        except ImportError as error:
            raise MissingExtraError.for_package("diffusers", "images") from error
        self.path, self.dtype, self.device, self.size_px, self.call = path, dtype, device, size_px, dict(call)
        self._pipeline: Any = None
        self._lock = threading.Lock()

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model and how it draws."""
        return {"images": "diffusers", "path": self.path, "dtype": self.dtype, "size_px": self.size_px, **self.call}

    def check(self) -> None:
        """Load the pipeline.

        Raises:
            ServiceError: if it cannot be loaded.
        """
        with self._lock:
            self._load()

    def render(self, items: Sequence[RenderItem]) -> list[Rendered]:
        """Render pictures; one that fails has none."""
        rendered: list[Rendered] = []
        with self._lock:
            for item in items:
                try:
                    rendered.append(Rendered(image=self._render(item)))
                except (ServiceError, RuntimeError, ValueError) as error:  # what a pipeline may raise
                    rendered.append(Rendered(image=None, reason=f"`{self.path}`: {error}"))
        return rendered

    def _load(self) -> Any:
        if self._pipeline is None:
            import torch

            try:
                pipeline = self._diffusers.DiffusionPipeline.from_pretrained(
                    self.path, torch_dtype=getattr(torch, self.dtype)
                )
            except (OSError, ValueError) as error:
                raise ServiceError(f"The diffusion model `{self.path}` cannot be loaded: {error}") from error
            pipeline.set_progress_bar_config(disable=True)
            self._pipeline = pipeline.to(self.device)
        return self._pipeline

    def _render(self, item: RenderItem) -> Any:
        import torch

        generator = torch.Generator("cpu").manual_seed(item.seed % 2**63)
        width, height = self.size_px
        made = self._load()(item.description, width=width, height=height, generator=generator, **self.call)
        return made.images[0].convert("RGB")

"""Pictures from an endpoint that speaks OpenAI's images protocol and answers bytes, never paths."""

import base64
import http.client
import io
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from vlmzoo.errors import ConfigError, ServiceError
from vlmzoo.services.calling import Caller, CallPolicy, TransientError, plain_url
from vlmzoo.services.negative_images import NEGATIVE_IMAGES, Rendered, RenderItem
from vlmzoo.services.posting import post_json

__all__ = ["EndpointImages"]

_CHECK_S = 5.0
_MAX_PIXELS = 4096 * 4096


@NEGATIVE_IMAGES.register(
    "endpoint",
    source="OpenAI API reference, images; OViP, arXiv:2505.15963, which asks FLUX.1-dev for 384 × 384",
    tiny={"base_url": "http://127.0.0.1:9/v1"},
)
class EndpointImages:
    """Asks ``/images/generations``.

    Args:
        base_url: up to ``/v1``.
        model: name of the model there; None leaves it out.
        size_px: width and height.
        options: further fields of the request, e.g. ``{num_inference_steps: 40, guidance_scale: 7.5}``.
        num_parallel: requests that are under way at once.
        price: of one picture.
        calls: ``timeout_s``, ``retries``, ``pause_s``, ``breaker_after`` …, see ``CallPolicy``.

    Raises:
        ConfigError: if the address is none, or a number makes no sense.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str | None = None,
        size_px: tuple[int, int] | list[int] = (384, 384),
        options: Mapping[str, Any] | None = None,
        num_parallel: int = 2,
        price: float = 0.0,
        calls: Mapping[str, Any] | CallPolicy | None = None,
    ) -> None:
        if urlsplit(base_url).scheme not in ("http", "https") or num_parallel < 1 or min(size_px) < 1:
            raise ConfigError(
                "`base_url` must begin with http:// or https://, `num_parallel` and `size_px` be positive, but they "
                f"are {base_url!r}, {num_parallel} and {list(size_px)} instead."
            )
        self.base_url, self.model, self.size_px = plain_url(base_url), model, (int(size_px[0]), int(size_px[1]))
        self.options, self.num_parallel, self.price = dict(options or {}), num_parallel, price
        self.call = Caller(self.base_url, CallPolicy.parse(calls))

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model, the size and the options; not the address, so that a ledger outlives a server."""
        return {"images": "endpoint", "model": self.model, "size_px": list(self.size_px), **self.options}

    def check(self) -> None:
        """Ask for the endpoint's health, or for anything that it answers.

        Raises:
            ServiceError: if nobody answers.
        """
        try:
            with urllib.request.urlopen(f"{self.base_url}/models", timeout=_CHECK_S):
                return
        except urllib.error.HTTPError:
            return  # it answers
        except (OSError, http.client.HTTPException) as error:
            raise ServiceError(
                f"`{self.base_url}` cannot be reached ({error}); start the server (e.g. `vlmzoo serve images`), or "
                "mend `base_url`."
            ) from error

    def render(self, items: Sequence[RenderItem]) -> list[Rendered]:
        """Ask for pictures, as many at once as is allowed."""
        if not items:
            return []
        with ThreadPoolExecutor(min(self.num_parallel, len(items))) as pool:
            return list(pool.map(self._render, items))

    def _render(self, item: RenderItem) -> Rendered:
        try:
            return Rendered(image=self.call(lambda: self._ask(item)), cost=self.price)
        except ServiceError as error:
            return Rendered(image=None, reason=str(error))

    def _ask(self, item: RenderItem) -> Image.Image:
        """Send one request.

        Raises:
            ServiceError: whatever goes wrong.
        """
        width, height = self.size_px
        body = {
            **self.options,
            **({} if self.model is None else {"model": self.model}),
            "prompt": item.description,
            "n": 1,
            "size": f"{width}x{height}",
            "seed": item.seed % 2**31,
            "response_format": "b64_json",
        }
        found = post_json(f"{self.base_url}/images/generations", body, timeout_s=self.call.policy.timeout_s)
        return _image_of(found, self.base_url)


def _image_of(found: Any, url: str) -> Image.Image:
    """Read a picture out of an answer.

    Raises:
        ServiceError: if there is none in it.
    """
    try:
        encoded = found["data"][0]["b64_json"]
        picture = Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))
        if picture.width * picture.height > _MAX_PIXELS:
            raise ValueError(f"{picture.size} pixels are too many")
        return picture.convert("RGB")
    except (KeyError, IndexError, TypeError, ValueError, OSError, Image.DecompressionBombError) as error:
        raise TransientError(f"`{url}` answers what is no picture: {error!r}"[:300]) from error

"""One request to an HTTP service, with what may go wrong told in two kinds: what may pass, and what does not."""

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from vlmzoo.errors import ConfigError, ServiceError
from vlmzoo.services.calling import TransientError

__all__ = ["key_from", "post_json"]

_MAX_BYTES = 64 * 2**20
_MAX_TOLD = 400


def key_from(variable: str, *, url: str) -> str:
    """Return the key that an environment variable holds.

    Args:
        variable: its name.
        url: of the service, for messages.

    Raises:
        ConfigError: if it holds none, or what no header can carry.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"`{url}` needs a key, but the environment variable `{variable}` is empty; set it.")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"The environment variable `{variable}` must hold one line of ASCII, the key of `{url}`, but holds other "
            "characters, too; set it again."
        )
    return key


def post_json(
    url: str, body: Mapping[str, Any], *, timeout_s: float, key: str | None = None, max_bytes: int = _MAX_BYTES
) -> Any:
    """Send JSON and return the JSON that is answered.

    Args:
        url: where to.
        body: what is sent.
        timeout_s: of the connection and of each read.
        key: sent as a bearer token, never to where a redirection leads, and never told in an error.
        max_bytes: the longest answer.

    Raises:
        TransientError: for no connection, half an answer, too many requests or a fault of the server.
        ServiceError: if the request is refused.
    """
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    if key is not None:
        request.add_unredirected_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            found = response.read(max_bytes + 1)
            missing = response.length  # what was promised and did not come: a bounded read does not complain
    except urllib.error.HTTPError as error:
        kind = TransientError if error.code >= 500 or error.code == 429 else ServiceError
        raise kind(f"`{url}` refuses the request ({error.code}): {_said(error, key)}") from None
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(f"`{url}` does not answer: {error!r}") from error
    if len(found) > max_bytes:
        raise ServiceError(f"`{url}` must answer at most {max_bytes:,} bytes, but sends more; ask it for less at once.")
    if missing:
        raise TransientError(f"`{url}` answers half: {len(found):,} bytes came, and {missing:,} did not.")
    try:
        return json.loads(found)
    except ValueError as error:
        raise TransientError(f"`{url}` answers what is no JSON: {error}") from error


def _said(error: urllib.error.HTTPError, key: str | None) -> str:
    """Return the beginning of what a server says with its refusal, without the key."""
    try:
        said = error.read(_MAX_TOLD).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return "(nothing more is told)"
    return said if key is None else said.replace(key, "***")

"""What goes wrong between here and the Hub: what may be tried again, and what a refusal means."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # of whichever HTTP library this version of the client is built on
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import validate_repo_id

from vlmzoo.errors import ConfigError

__all__ = [
    "check_repo_id",
    "is_hub_id",
    "is_out_of_reach",
    "is_transient",
    "retried",
    "status_of",
    "was_never_reached",
    "why",
]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_WAITS_S = (1.0, 2.0, 4.0)  # the client waits and tries again within each transfer; these come on top
_LONGEST_WAIT_S = 60.0
_BUSY = (408, 412, 429)  # 412: somebody else's commit came in between
_NO_CONNECTION = {"ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol"}


def check_repo_id(repo_id: str, *, needs_owner: bool = False) -> None:
    """Refuse what cannot be the name of a model on the Hub.

    Args:
        repo_id: ``owner/name``.
        needs_owner: whether a bare ``name`` is refused too.

    Raises:
        ConfigError: if it is none.
    """
    fault = "" if isinstance(repo_id, str) else "it is no text"  # pyright: ignore[reportUnnecessaryIsInstance]
    try:
        validate_repo_id(repo_id)
        if not fault and needs_owner and "/" not in repo_id:
            fault = "it lacks the owner"
    except HFValidationError as error:
        fault = str(error).split(":")[0].strip()
    if fault:
        raise ConfigError(
            f"`repo_id` must be `owner/name`, with letters, digits, `-`, `_` and `.`, but is {repo_id!r} "
            f"instead: {fault}."
        )


def is_hub_id(text: object) -> bool:
    """Say whether a text has the form ``owner/name``."""
    try:
        check_repo_id(text, needs_owner=True)  # pyright: ignore[reportArgumentType]
    except ConfigError:
        return False
    return True


def retried(action: Callable[[], T], *, if_unreachable: bool = True) -> T:
    """Return what ``action`` returns; what may pass is waited for, three times at most.

    Args:
        action: made so that it can be done twice.
        if_unreachable: whether a Hub that could not be reached at all is waited for too.
    """
    for wait_s in _WAITS_S:
        try:
            return action()
        except Exception as error:  # of the client, of its HTTP library, of the operating system
            if not is_transient(error) or (was_never_reached(error) and not if_unreachable):
                raise
            wait_s = _asked_wait_s(error) or wait_s
            logger.warning("The Hub failed (%s); trying again in %.0f s.", _first_line(error), wait_s)
            time.sleep(wait_s)
    return action()


def is_transient(error: BaseException) -> bool:
    """Say whether the same request may succeed a little later: a broken connection, a busy or a failing server."""
    if _is_offline_by_choice(error):
        return False
    status = status_of(error)
    if status is not None:
        return status in _BUSY or status >= 500
    return any(isinstance(cause, (HTTPError, ConnectionError, TimeoutError)) for cause in _causes(error))


def is_out_of_reach(error: BaseException) -> bool:
    """Say whether the Hub gave no answer about the model: offline by choice, no network, or a failing server."""
    return _is_offline_by_choice(error) or is_transient(error)


def was_never_reached(error: BaseException) -> bool:
    """Say whether no connection came about at all."""
    kinds = {kind.__name__ for cause in _causes(error) for kind in type(cause).__mro__}
    return bool(kinds & _NO_CONNECTION)


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an error comes from; None if no answer came."""
    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            return cause.response.status_code
    return None


def why(error: BaseException, repo_id: str, *, to: Literal["read", "write"]) -> str:
    """Return the reason of a failure and the way out, as the end of a sentence.

    Args:
        error: what the client raised.
        repo_id: what it was about.
        to: what was tried.
    """
    if _is_offline_by_choice(error):
        return "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it."
    status = status_of(error)
    if status is None:
        return _why_no_answer(error)
    if any(isinstance(cause, GatedRepoError) for cause in _causes(error)):
        return f"it is gated; accept its terms at {constants.ENDPOINT}/{repo_id} with the account of your token."
    if status == 401:
        return _why_unauthorised(repo_id, to=to)
    if status == 403:
        verb = "write to" if to == "write" else "read"
        return f"{_account()} may not {verb} `{repo_id}`; take a token that may (HF_TOKEN), or another name."
    if status == 404:
        what = f"owner `{repo_id.split('/')[0]}`" if to == "write" else f"`{repo_id}`"
        return f"there is no {what}, or your token may not see it; check the spelling and the token."
    if status == 429:
        return "the Hub asks to slow down; try again in some minutes."
    said = f": {_server_message(error)}" if _server_message(error) else ""
    return f"the Hub ({constants.ENDPOINT}) answers with status {status}{said}."


def _why_no_answer(error: BaseException) -> str:
    if was_never_reached(error):
        what = f"the Hub ({constants.ENDPOINT}) cannot be reached ({_last_words(error)})"
        return f"{what}; check the network, or HF_ENDPOINT."
    if is_transient(error):
        return f"the connection to the Hub broke ({_last_words(error)})."
    return f"{_last_words(error)}."


def _why_unauthorised(repo_id: str, *, to: str) -> str:
    if get_token() is not None:
        page = f"{constants.ENDPOINT}/settings/tokens"
        return f"the Hub does not accept your token; make a new one at {page} and log in with `hf auth login`."
    if to == "read":
        return (
            f"there is no `{repo_id}`, or it is private and no token was found; "
            "check the spelling, or log in with `hf auth login` (or set HF_TOKEN)."
        )
    return "no token was found; log in with `hf auth login`, or set HF_TOKEN."


def _account() -> str:
    """Return whose token it is, if the Hub says so."""
    try:
        return f"the token of `{HfApi().whoami()['name']}`"
    except (HTTPError, OSError, KeyError):
        return "your token"


def _server_message(error: BaseException) -> str:
    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError) and cause.server_message:
            return cause.server_message.strip().rstrip(".")
    return ""


def _is_offline_by_choice(error: BaseException) -> bool:
    return any(isinstance(cause, OfflineModeIsEnabled) for cause in _causes(error))


def _asked_wait_s(error: BaseException) -> float | None:
    """Return how long the server asks to wait, within reason."""
    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            asked = cause.response.headers.get("Retry-After", "")
            return min(float(asked), _LONGEST_WAIT_S) if asked.isdecimal() else None
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Iterate over an error and what it came from; the client wraps what its HTTP library raises."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _last_words(error: BaseException) -> str:
    """Return what the innermost error says, which the outer ones only repeat."""
    *_, innermost = _causes(error)
    return _first_line(innermost).rstrip(".")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

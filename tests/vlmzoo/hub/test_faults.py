import pytest
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError
from vlmzoo.hub.faults import check_repo_id, is_hub_id, is_out_of_reach, is_transient, retried, status_of, why


class Answer:
    """As much of an answer as the client's errors look at."""

    def __init__(self, status, **headers):
        self.status_code, self.headers, self.request = status, headers, None


def http_error(status, **headers):
    return HfHubHTTPError("it failed", response=Answer(status, **headers))


def wrapped(error):
    """As the client wraps what a transfer raises."""
    try:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("Error while uploading") from cause
    except RuntimeError as outer:
        return outer


@given(st.integers(400, 599), st.booleans())
def test_only_a_busy_or_failing_server_is_worth_another_try(status, is_wrapped):
    error = wrapped(http_error(status)) if is_wrapped else http_error(status)
    assert status_of(error) == status
    assert is_transient(error) == is_out_of_reach(error) == (status >= 500 or status in (408, 412, 429))


@pytest.mark.parametrize("error", [HTTPError("reset"), ConnectionResetError(), TimeoutError()])
def test_a_broken_connection_is_worth_another_try(error):
    assert is_transient(error)
    assert is_transient(wrapped(error))


@pytest.mark.parametrize("error", [ValueError("bad"), FileNotFoundError("gone"), OfflineModeIsEnabled("offline")])
def test_what_time_does_not_mend_is_not_tried_again(error, waits):
    calls = []

    def action():
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        retried(action)
    assert (len(calls), waits) == (1, [])


def test_offline_by_choice_is_out_of_reach_but_does_not_pass():
    assert is_out_of_reach(OfflineModeIsEnabled("offline"))
    assert not is_transient(OfflineModeIsEnabled("offline"))


@pytest.mark.parametrize(("num_failures", "is_done"), [(0, True), (1, True), (3, True), (4, False)])
def test_an_action_is_tried_four_times_at_most(waits, num_failures, is_done):
    failures = [http_error(503)] * num_failures
    calls = []

    def action():
        calls.append(1)
        if failures:
            raise failures.pop()
        return "done"

    if is_done:
        assert retried(action) == "done"
    else:
        with pytest.raises(HfHubHTTPError):
            retried(action)
    assert len(calls) == min(num_failures + 1, 4)
    assert waits == [1.0, 2.0, 4.0][:num_failures]


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("100000", 60.0), ("tomorrow", 1.0), ("", 1.0)])
def test_the_servers_wish_is_honoured_within_reason(waits, asked, waited):
    failures = [http_error(429, **{"Retry-After": asked})]

    def action():
        if failures:
            raise failures.pop()

    retried(action)
    assert waits == [waited]


@pytest.mark.parametrize("status", [400, 404, 409, 413, 429, 500, 503])
def test_every_reason_is_one_sentence_that_ends(status):
    for to in ("read", "write"):
        reason = why(http_error(status), "a/b", to=to)
        assert reason.endswith(".")
        assert "\n" not in reason


@pytest.mark.parametrize("repo_id", ["a/b", "A-1/b_2.c", "gpt2"])
def test_good_ids_pass(repo_id):
    check_repo_id(repo_id)
    assert is_hub_id(repo_id) == ("/" in repo_id)


@given(st.text(max_size=20))
def test_an_id_passes_or_is_refused_with_its_value(repo_id):
    try:
        check_repo_id(repo_id)
    except ConfigError as error:
        assert repr(repo_id) in str(error)
    else:
        assert repo_id.count("/") <= 1
        assert not set(repo_id) & set(" \\:?*")

"""Trackers: what reaches the services, what goes on after a kill, and what a fault may not do."""

import json
import logging
import random
import sys
import types
from contextlib import ExitStack, contextmanager

import pytest

from vlmzoo.errors import ConfigError, DataError, MissingExtraError
from vlmzoo.integrations.trackers import TRACKERS, SteadyTracker, make_trackers

CONFIG = {"num_steps": 3, "optim": {"learning_rate": 1e-3}}


class Service:
    """A service that keeps runs between processes: as much of wandb and trackio as is used."""

    def __init__(self, key):
        self.key = key  # what a run is known by
        self.inits, self.finished = [], []
        self.history = {}  # by what a run is known by: (step, scalars) in the order of arrival
        self.fault = None

    def init(self, **options):
        self.inits.append(options)
        if self.fault is not None:
            raise self.fault
        lines = self.history.setdefault(options[self.key], [])
        run = types.SimpleNamespace(step=lines[-1][0] + 1 if lines else 0)

        def log(scalars, step):
            if self.fault is not None:
                raise self.fault
            lines.append((step, scalars))
            run.step = step

        run.log = log
        run.finish = lambda **options: self.finished.append(options)
        return run


def make_service(monkeypatch, name):
    service = Service({"wandb": "id", "trackio": "name"}[name])
    monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(init=service.init))
    return service


@pytest.fixture(params=["wandb", "trackio"])
def name(request):
    return request.param


@pytest.fixture
def service(monkeypatch, name):
    for variable in ("PROJECT", "NAME", "DIR", "RUN_ID"):
        monkeypatch.delenv(f"WANDB_{variable}", raising=False)
    monkeypatch.delenv("TRACKIO_PROJECT", raising=False)
    return make_service(monkeypatch, name)


def start(folder, *names, **options):
    return make_trackers(names, run_dir=folder, run_name="quickstart", config=CONFIG, **options)


def test_numbers_reach_the_service_with_their_step_and_nothing_else_does(service, name, tmp_path):
    (tracker,) = start(tmp_path, name)
    tracker.log(1, {"step": 1, "loss": 2.5, "tokens": 7, "note": "not a number", "simple/exact": 0.5})
    tracker.log(2, {"step": 2, "loss": 1.5})
    tracker.close()
    (lines,) = service.history.values()
    assert lines == [(1, {"loss": 2.5, "tokens": 7.0, "simple/exact": 0.5}), (2, {"loss": 1.5})]
    assert len(service.finished) == 1
    assert service.inits[0]["config"] == CONFIG and service.inits[0]["project"] == "vlmzoo"


def test_a_run_that_goes_on_is_the_same_run_at_the_service(service, name, tmp_path):
    for steps in ((1, 2), (3, 4)):
        (tracker,) = start(tmp_path, name)
        for step in steps:
            tracker.log(step, {"loss": 1.0})
        tracker.close()
    (lines,) = service.history.values()
    assert [step for step, _ in lines] == [1, 2, 3, 4]
    assert all(options["resume"] == "allow" for options in service.inits)
    assert list(json.loads((tmp_path / "trackers.json").read_text())) == [name]


def test_steps_that_wandb_has_from_before_a_kill_are_not_sent_again(monkeypatch, tmp_path):
    service = make_service(monkeypatch, "wandb")
    (tracker,) = start(tmp_path, "wandb")
    for step in (1, 2, 3):  # killed here, the checkpoint was written after step 1
        tracker.log(step, {"loss": 1.0})
    (tracker,) = start(tmp_path, "wandb")
    for step in (2, 3, 4):
        tracker.log(step, {"loss": 1.0})
    (lines,) = service.history.values()
    assert [step for step, _ in lines] == [1, 2, 3, 4]


@pytest.mark.parametrize("options", [{"is_resumed": False}, {}])
def test_another_run_is_another_run_at_the_service_though_it_has_the_same_name(service, name, tmp_path, options):
    start(tmp_path, name)
    start(tmp_path if options else tmp_path / "other", name, **options)
    assert len(service.history) == 2


def test_a_run_that_starts_anew_forgets_services_that_it_no_longer_names(service, name, tmp_path):
    start(tmp_path, name)
    start(tmp_path, is_resumed=False)
    assert not (tmp_path / "trackers.json").exists()


def test_ids_leave_the_randomness_of_the_run_alone(service, name, tmp_path):
    random.seed(0)
    before = random.getstate()
    start(tmp_path, name)
    assert random.getstate() == before


def test_variables_of_wandb_win_over_our_choices(monkeypatch, tmp_path):
    service = make_service(monkeypatch, "wandb")
    for variable, value in {"PROJECT": "mine", "NAME": "this", "DIR": "there", "RUN_ID": "abc"}.items():
        monkeypatch.setenv(f"WANDB_{variable}", value)
    start(tmp_path, "wandb")
    (options,) = service.inits
    assert options["id"] == "abc"
    assert not {"project", "name", "dir", "mode", "anonymous", "entity"} & set(options)  # wandb reads them itself
    monkeypatch.delenv("WANDB_RUN_ID")
    start(tmp_path, "wandb")
    assert service.inits[1]["id"] == "abc"


def test_trackio_stays_here_unless_its_variables_say_otherwise(monkeypatch, tmp_path):
    service = make_service(monkeypatch, "trackio")
    monkeypatch.setenv("TRACKIO_PROJECT", "mine")
    start(tmp_path, "trackio")
    (options,) = service.inits
    assert options["project"] == "mine" and "space_id" not in options
    assert options["name"].startswith("quickstart-")


def test_a_service_that_fails_is_told_of_once_and_left_alone_after_three_faults_in_a_row(
    service, name, tmp_path, caplog
):
    (tracker,) = start(tmp_path, name)
    tracker.log(1, {"loss": 1.0})
    service.fault = ConnectionError("no route")
    with caplog.at_level(logging.WARNING):
        tracker.log(2, {"loss": 1.0})
        tracker.log(3, {"loss": 1.0})
        service.fault = None
        tracker.log(4, {"loss": 1.0})  # it is back
        service.fault = ConnectionError("no route")
        for step in (5, 6, 7):
            tracker.log(step, {"loss": 1.0})
        service.fault = None
        tracker.log(8, {"loss": 1.0})  # too late
        tracker.close()
    (lines,) = service.history.values()
    assert [step for step, _ in lines] == [1, 4]
    assert len(caplog.records) == 1 and name in caplog.text and "no route" in caplog.text
    assert len(service.finished) == 1


def test_a_fault_in_closing_does_not_end_the_run(caplog):
    def refuse():
        raise OSError("gone")

    SteadyTracker("wandb", types.SimpleNamespace(log=None, close=refuse)).close()
    assert "gone" in caplog.text


def test_a_new_run_fails_at_once_where_the_service_cannot_start(service, name, tmp_path):
    service.fault = RuntimeError("api_key not configured")
    with pytest.raises(ConfigError, match=f"`{name}` cannot start.*api_key.*report_to"):
        start(tmp_path / "new", name)


def test_a_run_that_goes_on_is_not_ended_by_a_service_that_is_away(service, name, tmp_path, caplog):
    start(tmp_path, name)
    service.fault = ConnectionError("no route")
    assert start(tmp_path, name) == []
    assert len(caplog.records) == 1 and name in caplog.text


def test_a_tracker_that_had_started_is_closed_when_another_cannot(monkeypatch, tmp_path):
    wandb, trackio = make_service(monkeypatch, "wandb"), make_service(monkeypatch, "trackio")
    trackio.fault = RuntimeError("no space left")
    with pytest.raises(ConfigError, match="trackio"):
        start(tmp_path, "wandb", "trackio")
    assert len(wandb.finished) == 1


@pytest.mark.parametrize("is_failing", [False, True])
def test_wandb_shows_a_run_as_failed_if_an_error_ended_it(monkeypatch, tmp_path, is_failing):
    service = make_service(monkeypatch, "wandb")

    @contextmanager
    def reports():  # as a run holds its trackers
        with ExitStack() as stack:
            for tracker in start(tmp_path, "wandb"):
                stack.callback(tracker.close)
            yield

    try:
        with reports():
            if is_failing:
                raise ValueError("a step went wrong")
    except ValueError:
        assert is_failing
    assert service.finished == [{"exit_code": int(is_failing)}]


def test_without_the_package_the_error_names_the_extra(monkeypatch, name, tmp_path):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"`{name}`.*vlmzoo\[track\]"):
        start(tmp_path, name)


def test_all_three_tell_the_same(monkeypatch, tmp_path):
    services = [make_service(monkeypatch, name) for name in ("wandb", "trackio")]
    trackers = start(tmp_path, *TRACKERS, "wandb")  # named twice, started once
    for tracker in trackers:
        tracker.log(1, {"loss": 0.5})
        tracker.close()
    assert [tracker.name for tracker in trackers] == list(TRACKERS)
    assert [list(service.history.values()) for service in services] == [[[(1, {"loss": 0.5})]]] * 2
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (event,) = accumulator.EventAccumulator(str(tmp_path / "events")).Reload().Scalars("loss")
    assert (event.step, event.value) == (1, 0.5)


def test_an_unknown_tracker_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(ConfigError, match="wandbb.*wandb"):
        start(tmp_path, "wandbb")


@pytest.mark.parametrize("text", ["{", "[]", '{"wandb": 1}'])
def test_a_broken_file_of_ids_is_named(service, name, tmp_path, text):
    (tmp_path / "trackers.json").write_text(text)
    with pytest.raises(DataError, match="trackers.json.*delete"):
        start(tmp_path, name)

import hashlib
import json
import logging

import pytest

from vlmzoo.errors import CheckpointError, ConfigError, HubError
from vlmzoo.hub.download import fetch_model
from vlmzoo.hub.push import push_model

REPO = "alice/tables"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_pushed_is_fetched_byte_for_byte(hub, make_folder, contents):
    folder = make_folder(large=2)
    url = push_model(folder, REPO)
    assert url == f"{hub.endpoint}/{REPO}/commit/{hub.repos[REPO].branches['main']}"
    assert contents(fetch_model(REPO)) == contents(folder)
    assert "README.md" in contents(folder)


def test_everything_arrives_in_one_commit(hub, make_folder):
    push_model(make_folder(large=2), REPO, commit_message="First model")
    assert hub.repos[REPO].history() == ["initial commit", "First model"]


def test_of_a_run_the_final_model_is_pushed(hub, make_folder, tmp_path):
    make_folder("run/final")
    (tmp_path / "run" / "journal.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    push_model(tmp_path / "run", REPO)
    assert "model.safetensors" in hub.files(REPO)
    assert "journal.jsonl" not in hub.files(REPO)


@pytest.mark.parametrize("private", [True, False])
def test_a_new_repository_is_as_private_as_asked(hub, make_folder, private):
    push_model(make_folder(), REPO, private=private)
    assert hub.repos[REPO].private is private


def test_a_new_repository_is_private_unless_asked_otherwise(hub, make_folder):
    push_model(make_folder(), REPO)
    assert hub.repos[REPO].private


@pytest.mark.parametrize(("was_private", "asked", "said"), [(False, True, "is public"), (True, False, "is private")])
def test_a_repository_that_is_there_keeps_its_visibility_and_that_is_said(
    hub, make_folder, caplog, was_private, asked, said
):
    hub.add(REPO, {".gitattributes": b""}, private=was_private)
    with caplog.at_level(logging.WARNING):
        push_model(make_folder(), REPO, private=asked)
    assert hub.repos[REPO].private is was_private
    assert any(said in message for message in caplog.messages)


def test_a_branch_is_made_and_the_main_branch_left_alone(hub, make_folder, contents):
    first, second = make_folder("first", seed=1), make_folder("second", seed=2)
    push_model(first, REPO)
    push_model(second, REPO, revision="step-200")
    assert contents(fetch_model(REPO)) == contents(first)
    assert contents(fetch_model(REPO, revision="step-200")) == contents(second)


def test_a_commit_fetches_what_the_branch_held_then(hub, make_folder, contents):
    first, second = make_folder("first", seed=1), make_folder("second", seed=2)
    commit = push_model(first, REPO).rsplit("/", 1)[-1]
    push_model(second, REPO)
    assert contents(fetch_model(REPO, revision=commit)) == contents(first)
    assert contents(fetch_model(REPO)) == contents(second)


@pytest.mark.parametrize(("revision", "said"), [("a" * 40, "is the commit"), ("v1", "is a tag")])
def test_only_a_branch_can_be_pushed_to(hub, make_folder, revision, said):
    hub.add(REPO, {".gitattributes": b""})
    hub.repos[REPO].tags["v1"] = hub.repos[REPO].branches["main"]
    with pytest.raises(ConfigError, match=said):
        push_model(make_folder(), REPO, revision=revision)


def test_files_of_the_push_before_do_not_stay_beside_the_new_ones(hub, make_folder, contents):
    push_model(make_folder("sharded", large=2), REPO)
    whole = make_folder("whole", seed=3)
    (whole / "lora" / "adapter_config.json").unlink()
    (whole / "lora" / "adapter_model.safetensors").unlink()
    push_model(whole, REPO)
    assert contents(fetch_model(REPO)) == contents(whole)


def test_what_people_added_on_the_hub_stays(hub, make_folder):
    added = {"NOTES.txt": b"by hand", "LICENSE": b"terms", "curve.png": b"png", "results.json": b"{}"}
    hub.add(REPO, {**added, "config.json": b"{}", "old.safetensors": b"x"})
    push_model(make_folder(), REPO)
    files = hub.files(REPO)
    assert {name: files[name] for name in added} == added
    assert "old.safetensors" not in files


def test_pushing_the_same_again_sends_and_commits_nothing(hub, make_folder):
    folder = make_folder(large=2)
    first = push_model(folder, REPO)
    sent = hub.count("PUT", "/_lfs/")
    assert push_model(folder, REPO) == first
    assert hub.count("PUT", "/_lfs/") == sent
    assert len(hub.repos[REPO].history()) == 2


def test_a_connection_that_breaks_once_costs_nothing_but_the_file(hub, make_folder, contents, waits):
    folder = make_folder(large=3)
    hub.fail("PUT", sha256(folder / "model-00002-of-00003.safetensors"), drop_after=100_000)
    push_model(folder, REPO)
    assert set(hub.received.values()) == {1}
    assert contents(fetch_model(REPO)) == contents(folder)


def test_after_a_failure_the_same_call_sends_only_what_had_not_arrived(hub, make_folder, contents, waits):
    folder = make_folder(large=3)
    shards = [folder / f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    fault = hub.fail("PUT", sha256(shards[1]), drop_after=100_000, times=1000)
    with pytest.raises(HubError) as failed:
        push_model(folder, REPO)
    told = str(failed.value)
    assert f"Arrived: `{shards[0].name}`; not yet: `{shards[1].name}`, `{shards[2].name}`" in told
    assert "The same command goes on" in told
    assert [hub.received[sha256(shard)] for shard in shards] == [1, 0, 0]
    assert hub.repos[REPO].history() == ["initial commit"]  # nobody saw half a model

    fault.times = 0
    push_model(folder, REPO)
    assert [hub.received[sha256(shard)] for shard in shards] == [1, 1, 1]
    assert set(hub.received.values()) == {1}
    assert contents(fetch_model(REPO)) == contents(folder)


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub, make_folder, waits):
    hub.fail("POST", "/commit/", drop_answer=True)
    url = push_model(make_folder(), REPO)
    assert len(hub.repos[REPO].history()) == 2
    assert url.endswith(hub.repos[REPO].branches["main"])


@pytest.mark.parametrize("path", ["/repos/create", "/validate-yaml", "/preupload/", "/objects/batch", "/commit/"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(hub, make_folder, waits, path, status):
    hub.fail("POST", path, status=status, times=2)
    push_model(make_folder(), REPO)
    assert "model.safetensors" in hub.files(REPO)


def test_the_server_says_how_long_to_wait(hub, make_folder, waits):
    hub.fail("POST", "/commit/", status=429, headers={"Retry-After": "17"})
    push_model(make_folder(), REPO)
    assert 17 in [round(wait) for wait in waits]


def test_a_server_that_stays_broken_is_given_up_after_bounded_waits(hub, make_folder, waits):
    fault = hub.fail("POST", "/commit/", status=500, times=1000)
    with pytest.raises(HubError, match=r"answers with status 500.*The same command goes on"):
        push_model(make_folder(), REPO)
    assert 1000 - fault.times == 4
    assert sum(waits) < 60


def test_no_token_is_said_before_anything_is_sent(hub, make_folder, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="no token was found; log in with `hf auth login`, or set HF_TOKEN"):
        push_model(make_folder(), REPO)
    assert hub.requests == []


def test_a_token_that_is_not_accepted_is_said(hub, make_folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(HubError, match=r"does not accept your token; make a new one at .*/settings/tokens"):
        push_model(make_folder(), REPO)


@pytest.mark.parametrize(("token", "user"), [("hf_reader", "rita"), ("hf_alice", "alice")])
def test_whose_token_may_not_write_is_said(hub, make_folder, monkeypatch, token, user):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError, match=f"the token of `{user}` may not write to `bob/tables`"):
        push_model(make_folder(), "bob/tables")


def test_a_hub_that_cannot_be_reached_is_said_at_once(hub, make_folder, waits):
    hub.stop()
    with pytest.raises(HubError, match=rf"the Hub \({hub.endpoint}\) cannot be reached .*check the network"):
        push_model(make_folder(), REPO)
    assert sum(waits) == 0


def test_offline_nothing_can_be_pushed(hub, make_folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        push_model(make_folder(), REPO)


@pytest.mark.parametrize(
    "repo_id", ["tables", "alice/tables/v1", "alice//tables", "alice/tab les", "", "alice/-", None]
)
def test_a_bad_repository_id_is_refused_with_the_rule(hub, make_folder, repo_id):
    with pytest.raises(ConfigError, match="`repo_id` must be `owner/name`"):
        push_model(make_folder(), repo_id)
    assert hub.requests == []


def test_metadata_that_the_hub_would_refuse_is_said_before_weights_are_sent(hub, make_folder):
    folder = make_folder(large=2)
    (folder / "README.md").write_text("---\nlicense: my-own\n---\n\nBy hand.\n")
    with pytest.raises(CheckpointError, match=r"The metadata of .*README\.md` is refused"):
        push_model(folder, REPO)
    assert hub.count("PUT", "/_lfs/") == 0


def cut(name, keep):
    def damage(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:keep])

    return damage


def remove(*names):
    def damage(folder):
        for name in names:
            (folder / name).unlink()

    return damage


def write(name, text):
    def damage(folder):
        (folder / name).write_text(text)

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut("model-00001-of-00002.safetensors", 5000), "model-00001-of-00002.safetensors` must be a whole file"),
        (cut("parts.safetensors", 0), "parts.safetensors` must be a whole file"),
        (cut("config.json", 10), "config.json` must be a whole file"),
        (remove("model-00002-of-00002.safetensors"), "names `model-00002-of-00002.safetensors`, which is not there"),
        (remove("lora/adapter_model.safetensors"), "holds no adapter_model.safetensors"),
        (write(".tokenizer.json.partial", "{"), "`.tokenizer.json.partial` is half-written"),
        (remove("config.json", "vlmzoo.json"), "holds neither config.json nor vlmzoo.json"),
    ],
)
def test_a_folder_that_is_not_whole_is_not_pushed(hub, make_folder, damage, said):
    folder = make_folder(large=2)
    damage(folder)
    with pytest.raises(CheckpointError, match=said):
        push_model(folder, REPO)
    assert hub.requests == []
    assert not (folder / "README.md").exists()


@pytest.mark.parametrize(
    ("base", "said"),
    [(None, "does neither"), ({"id": "/home/me/base"}, "names `/home/me/base`"), ({"id": "base"}, "names `base`")],
)
def test_a_folder_whose_base_nobody_else_could_find_is_not_pushed(hub, make_folder, base, said):
    folder = make_folder(base=False, manifest={"base": base})
    with pytest.raises(CheckpointError, match=said):
        push_model(folder, REPO)


def test_a_folder_that_names_its_base_on_the_hub_is_whole(hub, make_folder, contents):
    folder = make_folder(base=False, manifest={"base": {"id": "alice/base", "revision": "v1"}})
    (folder / "config.json").unlink()
    push_model(folder, REPO)
    assert contents(fetch_model(REPO)) == contents(folder)


def test_hidden_files_stay_at_home(hub, make_folder):
    folder = make_folder()
    (folder / ".env").write_text("HF_TOKEN=hf_secret")
    push_model(folder, REPO)
    assert ".env" not in hub.files(REPO)


def test_a_card_that_a_person_wrote_is_pushed_as_it_is(hub, make_folder):
    folder = make_folder()
    text = "---\nlicense: mit\n---\n\nBy hand.\n"
    (folder / "README.md").write_text(text)
    push_model(folder, REPO)
    assert hub.files(REPO)["README.md"].decode() == text == (folder / "README.md").read_text()


def test_a_card_that_a_person_edited_on_the_hub_is_not_replaced_by_a_generated_one(hub, make_folder):
    push_model(make_folder("first", seed=1), REPO)
    edited = hub.files(REPO)["README.md"].replace(b"# tables", b"# My tables")
    hub.add(REPO, {**hub.files(REPO), "README.md": edited})
    push_model(make_folder("second", seed=2), REPO)
    assert hub.files(REPO)["README.md"] == edited


def test_a_generated_card_on_the_hub_is_replaced_by_a_newer_one(hub, make_folder):
    push_model(make_folder("first"), REPO)
    push_model(make_folder("second", manifest={"licence": "mit"}), REPO)
    assert b"license: mit" in hub.files(REPO)["README.md"]


def test_a_given_card_is_pushed(hub, make_folder):
    push_model(make_folder(), REPO, card="---\nlicense: mit\n---\n\nGiven.\n")
    assert hub.files(REPO)["README.md"].endswith(b"Given.\n")


def test_a_given_card_does_not_replace_a_persons(hub, make_folder):
    folder = make_folder()
    (folder / "README.md").write_text("By hand.")
    with pytest.raises(ConfigError, match="`card` must be left out, as a person wrote"):
        push_model(folder, REPO, card="Given.")
    assert (folder / "README.md").read_text() == "By hand."


def test_the_manifest_is_passed_on_untouched(hub, make_folder):
    folder = make_folder(manifest={"base": "alice/base", "adapters": [{"type": "seg", "odd": [1, None]}], "extra": {}})
    push_model(folder, REPO)
    assert json.loads(hub.files(REPO)["vlmzoo.json"]) == json.loads((folder / "vlmzoo.json").read_text())

import logging
import os
import shutil
import subprocess
import sys

import pytest
from huggingface_hub import constants

from vlmzoo.errors import CheckpointError, ConfigError, HubError
from vlmzoo.hub.download import fetch_model
from vlmzoo.hub.push import push_model

REPO = "alice/tables"
WEIGHTS = bytes(range(256)) * 4000
FILES = {
    ".gitattributes": b"*.safetensors filter=lfs\n",
    "README.md": b"# Tables\n",
    "config.json": b'{"model_type": "llama"}',
    "chat_template.jinja": b"{{ messages }}",
    "merges.txt": b"a b\n",
    "tokenizer.model": b"\x00pieces",
    "model.safetensors": WEIGHTS,
    "lora/adapter_config.json": b"{}",
    "lora/adapter_model.safetensors": WEIGHTS[:5000],
}
NOT_NEEDED = {
    "pytorch_model.bin": b"pickle",
    "training_args.bin": b"pickle",
    "optimizer.pt": b"pickle",
    "onnx/model.onnx": b"onnx",
    "onnx/config.json": b"{}",
    "picture.png": b"png",
}


@pytest.fixture
def offline(monkeypatch):
    def switch():
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    return switch


def test_only_what_a_model_needs_is_fetched(hub, contents):
    hub.add(REPO, {**FILES, **NOT_NEEDED})
    assert contents(fetch_model(REPO)) == {name: FILES[name] for name in FILES if name != ".gitattributes"}


def test_pickles_are_fetched_only_where_there_is_no_safetensors(hub, contents):
    files = {"config.json": b"{}", "pytorch_model-00001-of-00001.bin": b"weights", "training_args.bin": b"pickle"}
    hub.add(REPO, files)
    assert set(contents(fetch_model(REPO))) == {"config.json", "pytorch_model-00001-of-00001.bin"}


def test_branches_tags_and_commits_are_told_apart(hub, contents):
    first = hub.add(REPO, {"config.json": b"1"})
    hub.repos[REPO].tags["v1"] = first
    hub.add(REPO, {"config.json": b"2"})
    hub.repos[REPO].branches["next"] = hub.repos[REPO].branches["main"]
    hub.add(REPO, {"config.json": b"3"}, branch="next")
    wanted = {None: b"2", "main": b"2", "next": b"3", "v1": b"1", first: b"1"}
    assert {name: contents(fetch_model(REPO, revision=name))["config.json"] for name in wanted} == wanted


def test_a_branch_that_moved_is_fetched_anew(hub, contents):
    hub.add(REPO, {"config.json": b"1"})
    fetch_model(REPO)
    hub.add(REPO, {"config.json": b"2"})
    assert contents(fetch_model(REPO)) == {"config.json": b"2"}


def test_what_is_cached_is_not_sent_again(hub):
    hub.add(REPO, FILES)
    folder = fetch_model(REPO)
    num_sent = len(hub.requests)
    assert fetch_model(REPO) == folder
    assert [path for _, path, _ in hub.requests[num_sent:] if "/resolve/" in path or "/_cdn/" in path] == []


def test_the_cache_may_lie_elsewhere(hub, tmp_path):
    hub.add(REPO, FILES)
    assert fetch_model(REPO, cache_dir=tmp_path / "elsewhere").is_relative_to(tmp_path / "elsewhere")
    assert fetch_model(REPO).is_relative_to(tmp_path / "hf_home" / "hub")


@pytest.mark.parametrize(
    ("drop_after", "arrived"), [(10_000, 10_000), (123_456, 120_000), (len(WEIGHTS) - 1, 1_020_000)]
)
def test_a_download_that_breaks_goes_on_after_the_last_block_that_arrived(
    hub, contents, waits, monkeypatch, drop_after, arrived
):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.add(REPO, {"config.json": b"{}", "model.safetensors": WEIGHTS})
    hub.fail("GET", "/_cdn/", drop_after=drop_after)
    assert contents(fetch_model(REPO))["model.safetensors"] == WEIGHTS
    assert [asked.get("range") for asked in hub.asked("GET", "/_cdn/")] == [None, f"bytes={arrived}-"]


def test_a_connection_that_is_reset_is_made_again(hub, contents, waits):
    hub.add(REPO, {"config.json": b"{}", "model.safetensors": WEIGHTS})
    hub.fail("GET", "/_cdn/", drop_after=100_000, reset=True)
    assert contents(fetch_model(REPO))["model.safetensors"] == WEIGHTS


def test_after_a_failure_the_same_call_fetches_only_what_is_missing(hub, contents, waits):
    hub.add(REPO, {"config.json": b"{}", "model-00001.safetensors": WEIGHTS, "model-00002.safetensors": WEIGHTS[::-1]})
    second = hub.repos[REPO].commits[hub.repos[REPO].branches["main"]].files["model-00002.safetensors"].sha256
    fault = hub.fail("GET", second, drop_after=0, times=1000)
    with pytest.raises(HubError, match="connection to the Hub broke .*What has arrived is kept: the same call goes on"):
        fetch_model(REPO)
    fault.times = 0
    num_sent = len(hub.requests)
    assert contents(fetch_model(REPO))["model-00002.safetensors"] == WEIGHTS[::-1]
    fetched = [path for method, path, _ in hub.requests[num_sent:] if method == "GET" and "/_cdn/" in path]
    assert fetched == [f"/_cdn/{second}"]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/revision/"), ("GET", "/tree/"), ("HEAD", "/resolve/"), ("GET", "/_cdn/")]
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(hub, contents, waits, method, path, status):
    hub.add(REPO, FILES)
    hub.fail(method, path, status=status, times=2)
    assert contents(fetch_model(REPO))["model.safetensors"] == WEIGHTS


def test_a_server_that_stays_broken_is_given_up(hub, waits):
    hub.add(REPO, FILES)
    hub.fail("GET", "/revision/", status=500, times=1000)
    with pytest.raises(HubError, match="not in the cache .*answers with status 500"):
        fetch_model(REPO)
    assert sum(waits) < 60


def test_offline_the_cache_is_used_without_a_request(hub, contents, offline):
    hub.add(REPO, FILES)
    folder = fetch_model(REPO)
    num_sent = len(hub.requests)
    offline()
    assert fetch_model(REPO) == fetch_model(REPO, revision="main") == fetch_model(REPO, revision=folder.name) == folder
    assert len(hub.requests) == num_sent


def test_offline_without_the_model_in_the_cache_is_said_with_what_is_there(hub, offline):
    hub.add("alice/other", FILES)
    fetch_model("alice/other")
    offline()
    with pytest.raises(HubError) as failed:
        fetch_model(REPO)
    told = str(failed.value)
    assert f"`{REPO}` at `main` is not in the cache `{constants.HF_HUB_CACHE}` (there are `alice/other`)" in told
    assert told.endswith("and HF_HUB_OFFLINE is set, so the Hub is not asked; unset it.")


def test_offline_without_the_revision_in_the_cache_is_said_with_those_that_are(hub, offline):
    hub.add(REPO, FILES)
    hub.add(REPO, FILES, branch="next")
    fetch_model(REPO)
    offline()
    with pytest.raises(HubError, match=r"at `next` is not in the cache .*\(of it there is `main`\)"):
        fetch_model(REPO, revision="next")


def test_offline_half_a_model_is_not_taken_for_one(hub, waits, offline):
    hub.add(REPO, FILES)
    fault = hub.fail("GET", "/_cdn/", drop_after=0, times=1000)
    with pytest.raises(HubError):
        fetch_model(REPO)
    fault.times = 0
    offline()
    with pytest.raises(HubError, match="is not whole in the cache"):
        fetch_model(REPO)


def test_offline_single_files_that_another_program_fetched_are_not_taken_for_a_model(hub, offline):
    from huggingface_hub import hf_hub_download

    hub.add(REPO, FILES)
    hf_hub_download(REPO, "config.json")
    offline()
    with pytest.raises(HubError, match="is not whole in the cache"):
        fetch_model(REPO)


def test_without_a_network_the_cache_is_used_and_that_is_said(hub, contents, caplog):
    hub.add(REPO, FILES)
    folder = fetch_model(REPO)
    hub.stop()
    with caplog.at_level(logging.WARNING):
        assert fetch_model(REPO) == folder
    assert any("is taken from the cache" in message and "cannot be reached" in message for message in caplog.messages)


def test_without_a_network_and_a_cache_the_failure_is_said_at_once(hub, waits):
    hub.stop()
    with pytest.raises(HubError) as failed:
        fetch_model(REPO)
    told = str(failed.value)
    assert f"`{REPO}` at `main` is not in the cache `{constants.HF_HUB_CACHE}` (it is empty)" in told
    assert f"the Hub ({hub.endpoint}) cannot be reached" in told
    assert told.endswith("check the network, or HF_ENDPOINT.")
    assert sum(waits) == 0


def test_a_revision_that_does_not_exist_is_named_with_those_that_do(hub):
    hub.add(REPO, FILES)
    hub.add(REPO, FILES, branch="step-200")
    hub.repos[REPO].tags["v1"] = hub.repos[REPO].branches["main"]
    with pytest.raises(HubError) as failed:
        fetch_model(REPO, revision="step-20")
    assert str(failed.value) == (
        f"`{REPO}` has no revision `step-20`; it has the branches `main`, `step-200`, and the tags `v1`. "
        "Did you mean `step-200`?"
    )


def test_a_model_that_does_not_exist_is_said(hub):
    with pytest.raises(HubError, match="there is no `alice/nothing`, or your token may not see it; check the spelling"):
        fetch_model("alice/nothing")


@pytest.mark.parametrize("repo_id", [REPO, "alice/nothing"])
def test_without_a_token_a_private_model_looks_like_none(hub, monkeypatch, repo_id):
    hub.add(REPO, FILES, private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(
        HubError, match=f"there is no `{repo_id}`, or it is private and no token was found; .*hf auth login"
    ):
        fetch_model(repo_id)


def test_the_token_of_the_environment_opens_a_private_model(hub):
    hub.add(REPO, FILES, private=True)
    assert (fetch_model(REPO) / "config.json").read_bytes() == FILES["config.json"]
    assert all("authorization" not in asked for asked in hub.asked("GET", "/_cdn/"))


def test_a_token_that_is_not_accepted_is_said(hub, monkeypatch):
    hub.add(REPO, FILES)
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(HubError, match="does not accept your token"):
        fetch_model(REPO)


def test_a_gated_model_says_where_its_terms_are(hub):
    hub.add(REPO, FILES)
    hub.fail("GET", "/revision/", status=403, headers={"X-Error-Code": "GatedRepo"})
    with pytest.raises(HubError, match=f"it is gated; accept its terms at {hub.endpoint}/{REPO}"):
        fetch_model(REPO)


@pytest.mark.parametrize("files", [{"README.md": b"data"}, {"lora.safetensors": b"", "sub/config.json": b"{}"}])
def test_what_is_no_model_is_refused_before_it_is_fetched(hub, files):
    hub.add(REPO, files)
    with pytest.raises(CheckpointError, match="so it is no model folder"):
        fetch_model(REPO)
    assert hub.count("GET", "/resolve/|/_cdn/") == 0


@pytest.mark.parametrize("repo_id", ["a/b/c", "a b", "../x", "", "a/b.git"])
def test_a_bad_id_is_refused_with_the_rule(hub, repo_id):
    with pytest.raises(ConfigError, match="`repo_id` must be `owner/name`"):
        fetch_model(repo_id)
    assert hub.requests == []


def damage_length(path):
    path.write_bytes(path.read_bytes()[:-1])


def damage_content(path):
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


DAMAGES = [
    ("model.safetensors", damage_length),
    ("lora/adapter_model.safetensors", damage_length),
    ("config.json", damage_length),
    ("config.json", damage_content),
    ("merges.txt", damage_content),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_file_of_the_cache_is_fetched_again(hub, contents, name, damage):
    hub.add(REPO, FILES)
    folder = fetch_model(REPO)
    damage((folder / name).resolve())
    assert contents(fetch_model(REPO)) == {name: FILES[name] for name in FILES if name != ".gitattributes"}


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_offline_a_damaged_file_is_named(hub, offline, name, damage):
    hub.add(REPO, FILES)
    folder = fetch_model(REPO)
    damage((folder / name).resolve())
    offline()
    with pytest.raises(CheckpointError, match=f"{name}` is damaged.*delete it"):
        fetch_model(REPO)


def test_a_file_that_was_deleted_from_the_cache_is_fetched_again(hub, contents):
    hub.add(REPO, FILES)
    folder = fetch_model(REPO)
    shutil.rmtree(folder / "lora")
    assert set(contents(fetch_model(REPO))) == set(FILES) - {".gitattributes"}


def test_the_environment_says_where_the_hub_and_the_cache_are(hub, make_folder, repository, tmp_path):
    """In a process of its own, as the client reads its environment once, when it is imported."""
    push_model(make_folder(), REPO)  # private, so that the token counts
    code = f"""
import sys, types, vlmzoo
sys.modules["vlmzoo.hub"] = hub = types.ModuleType("vlmzoo.hub")  # without its `__init__`, which loads torch
hub.__path__ = [vlmzoo.__path__[0] + "/hub"]
from vlmzoo.hub.download import fetch_model
print(fetch_model({REPO!r}))
"""

    def run(**changed):
        values = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "new_home"), "HF_HUB_OFFLINE": "0"}
        environment = {**os.environ, **values, "HF_HUB_DISABLE_XET": "1", **changed}
        environment.pop("HF_HUB_CACHE", None)
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=repository, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    folder = run()
    assert folder.startswith(str(tmp_path / "new_home" / "hub"))
    num_sent = len(hub.requests)
    assert run(HF_HUB_OFFLINE="1") == folder
    assert len(hub.requests) == num_sent

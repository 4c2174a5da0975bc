import json
import re

import pytest
from huggingface_hub import ModelCard

from tests.vlmzoo.hub.fake_hub_pages import check_card
from vlmzoo.hub.model_card import is_generated, make_model_card, write_card

REPO = "alice/tables"
LLAVA = "liuhaotian/llava-v1.5-7b"
SCORES = {
    "simple_image": {"exact": {"mean": 0.93, "low": 0.9, "high": 0.955, "num": 500}},
    "hard_image": {"exact": {"mean": 0.25, "low": 0.2, "high": 0.3, "num": 500}, "cells": {"mean": None}},
}
CONFIG = {
    "model": {"architecture": {"family": "llava"}, "name": None, "path": None, "pretrained": False},
    "experience": {
        "type": "supervised",
        "source": {"type": "synthetic", "task": {"type": "consecutive_table_readout"}},
    },
    "objective": {"type": "next_token"},
    "optim": {"learning_rate": 0.002},
    "num_steps": 2500,
    "seed": 0,
}


@pytest.fixture
def make_run(make_folder, tmp_path):
    """Write a run: a model's folder with a resolved configuration and a report above it."""

    def make(*, config=None, scores=SCORES, notes=(), manifest=None, base=True):
        folder = make_folder("run/final", manifest=manifest, base=base)
        resolved = {"config": {**CONFIG, **(config or {})}, "versions": {"vlmzoo": "0.1.0"}, "commit": "c0ffee" * 6}
        report = {"title": "Tables", "parameters": 1_000_000, "seed": 0, "scores": scores, "notes": list(notes)}
        (tmp_path / "run" / "config.resolved.json").write_text(json.dumps(resolved))
        (tmp_path / "run" / "report.json").write_text(json.dumps(report))
        return folder

    return make


def metadata(folder, **options):
    card = make_model_card(folder, repo_id=REPO, **options)
    assert check_card(str(card)) == []
    return card.data.to_dict()


def test_the_hub_accepts_the_metadata_and_reads_it_back(make_run):
    card = make_model_card(make_run(), repo_id=REPO)
    data = card.data.to_dict()
    assert check_card(str(card)) == []
    assert (data["library_name"], data["pipeline_tag"]) == ("vlmzoo", "image-text-to-text")
    assert ModelCard(str(card)).data.to_dict() == data
    assert str(ModelCard(str(card))) == str(card)


def test_the_same_folder_gives_the_same_card(make_run):
    folder = make_run()
    assert str(make_model_card(folder, repo_id=REPO)) == str(make_model_card(folder, repo_id=REPO))


def test_each_score_is_an_entry_of_the_index_with_its_interval(make_run):
    card = make_model_card(make_run(), repo_id=REPO)
    entries = {(r.dataset_name, r.metric_type): r for r in card.data.eval_results}
    assert set(entries) == {("simple_image", "exact"), ("hard_image", "exact")}
    assert entries["simple_image", "exact"].metric_value == 0.93
    assert "0.900 to 0.955, 500 questions" in entries["simple_image", "exact"].metric_name
    assert "| hard_image | exact | 0.250 | 95 % interval 0.200 to 0.300, 500 questions |" in card.text


def test_a_score_that_came_out_as_no_number_is_said_and_not_listed(make_run):
    text = make_model_card(make_run(), repo_id=REPO).text
    assert "`hard_image cells` came out as no number" in text
    assert "| hard_image | cells |" not in text


def test_without_a_run_nothing_is_invented(make_folder):
    card = make_model_card(make_folder(), repo_id=REPO)
    data = card.data.to_dict()
    assert data["license"] == "unknown"
    assert {"base_model", "base_model_relation", "datasets", "model-index"}.isdisjoint(data)
    for said in ("**Base:** unknown.", "**Licence:** unknown", "training data is unknown", "Measured\n\nNothing"):
        assert said in card.text


def test_a_model_from_random_weights_has_no_base(make_run):
    card = make_model_card(make_run(), repo_id=REPO)
    assert "base_model" not in card.data.to_dict()
    assert "training began with random weights" in card.text


@pytest.mark.parametrize(
    ("manifest", "base", "config", "relation"),
    [
        ({"base": {"id": "a/b"}}, False, {}, "adapter"),
        ({"base": {"id": "a/b"}}, True, {}, "finetune"),
        ({"base": {"id": "a/b"}}, True, {"quantization_config": {"bits": 4}}, "quantized"),
        ({"base": [{"id": "a/b"}, {"id": "c/d"}]}, True, {}, "merge"),
        ({}, True, {}, None),
        ({"base": {"id": "/home/me/model"}}, True, {}, None),
    ],
)
def test_the_relation_to_the_base_is_the_hubs(make_folder, manifest, base, config, relation):
    folder = make_folder(manifest=manifest, base=base)
    (folder / "config.json").write_text(json.dumps(config))
    data = metadata(folder)
    assert data.get("base_model_relation") == relation
    assert ("base_model" in data) == (relation is not None)
    assert "/home/me" not in str(make_model_card(folder, repo_id=REPO))


@pytest.mark.parametrize(
    "model",
    [{"name": "llava-1.5-7b", "pretrained": True}, {"path": LLAVA, "pretrained": False}],
)
def test_the_base_comes_from_the_runs_configuration_and_its_terms_from_the_zoo(make_run, model):
    folder = make_run(config={"model": model})
    data = metadata(folder)
    assert (data["base_model"], data["base_model_relation"]) == (LLAVA, "finetune")
    text = make_model_card(folder, repo_id=REPO).text
    assert "Llama 2 Community License" in text
    assert "2310.03744" in text
    assert data["license"] == "unknown"  # the base's terms are told, not taken for this model's


@pytest.mark.parametrize(
    ("stated", "license", "name"),
    [
        ("Apache-2.0", "apache-2.0", None),
        ("MIT", "mit", None),
        ("Llama 2 Community License", "llama2", None),
        ("My Own License 1.0", "other", "my-own-license-1.0"),
        (None, "unknown", None),
    ],
)
def test_a_licence_is_written_as_the_hub_writes_it(make_folder, stated, license, name):
    data = metadata(make_folder(), licence=stated)
    assert (data["license"], data.get("license_name")) == (license, name)


def test_a_licence_of_the_manifest_is_taken(make_folder):
    assert metadata(make_folder(manifest={"licence": "apache-2.0"}))["license"] == "apache-2.0"


def test_data_sets_of_the_hub_are_listed_and_places_of_files_kept_private(make_run):
    sources = [
        {"type": "hub", "repo": "owner/data"},
        {"type": "llava_json", "path": "/home/me/secret.json"},
        {"type": "mixture", "sources": [{"type": "hub", "repo": "owner/more"}]},
    ]
    folder = make_run(config={"experience": {"type": "supervised", "sources": sources}})
    assert metadata(folder)["datasets"] == ["owner/data", "owner/more"]
    text = str(make_model_card(folder, repo_id=REPO))
    assert "`llava_json`" in text
    assert "/home/me" not in text


@pytest.mark.parametrize(
    "adapters", [{"seg": {"type": "seg", "decoder": "sam"}, "second": {"type": "lora"}}, [{"type": "seg"}, "lora"]]
)
def test_adapters_are_tags(make_folder, adapters):
    folder = make_folder(manifest={"adapters": adapters})
    assert {"vlmzoo", "seg", "lora"} <= set(metadata(folder)["tags"])


def test_the_limits_name_what_was_measured_and_the_runs_own_notes(make_run):
    text = make_model_card(make_run(notes=["Tables have 4 rows."]), repo_id=REPO).text
    limits = text.split("## Limits")[1]
    assert "- Tables have 4 rows." in limits
    assert "Measured: `simple_image`, `hard_image`." in limits
    assert "were not measured" in limits


def test_the_code_of_the_card_loads_this_model(make_folder):
    [code] = re.findall(r"```python\n(.*?)```", make_model_card(make_folder(), repo_id=REPO).text, flags=re.DOTALL)
    assert f'load_model("{REPO}")' in code
    compile(code, "card", "exec")


def test_an_untouched_card_is_known_as_generated_and_an_edited_one_is_not(make_run):
    text = str(make_model_card(make_run(), repo_id=REPO))
    assert is_generated(text)
    assert is_generated(text.replace("\n", "\r\n"))
    assert not is_generated(text.replace("# tables", "# Tables"))
    assert not is_generated(text.replace("license: unknown", "license: mit"))
    assert not is_generated("# By hand\n")


def test_a_generated_card_is_written_anew_and_a_persons_stays(make_run):
    folder = make_run()
    path = write_card(folder, repo_id=REPO)
    write_card(folder, repo_id="alice/renamed")
    assert "alice/renamed" in path.read_text()
    path.write_text("By hand.")
    write_card(folder, repo_id=REPO)
    assert path.read_text() == "By hand."

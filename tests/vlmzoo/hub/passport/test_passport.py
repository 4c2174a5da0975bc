"""Passports: what is as it was passes, and what departs is named."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from vlmzoo import list_models, verify_model
from vlmzoo.checkpoint import save_model
from vlmzoo.cli import app
from vlmzoo.errors import CheckpointError, ConfigError, RegistryError
from vlmzoo.hub import passport as passports
from vlmzoo.hub.passport import check_folder, make_passport, make_twin, read_passport, shipped_passport
from vlmzoo.hub.passport.files import SHIPPED
from vlmzoo.zoo import load_card

NAME = "llava-1.5-7b"
FEW = (NAME, "qwen2.5-vl-3b", "lisa-7b-v1")


def run(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def passport():
    return shipped_passport(NAME)["twin"]


@pytest.fixture
def folder(tmp_path):
    model = make_twin(NAME)
    return save_model(model, model.processor, tmp_path / "twin")


def edit_json(path, edit):
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def first_of(report, stage):
    return next(departure for departure in report.departures if departure.stage == stage)


@pytest.mark.parametrize("name", list_models())
def test_every_entry_ships_a_complete_passport(name):
    record = shipped_passport(name)
    assert {"configuration", "shapes"} <= record["card"].keys()
    assert {"configuration", "tokenizer", "processor", "tensors", "running"} <= record["twin"].keys()
    assert len(record["twin"]["running"]) == len(record["twin"]["processor"]["pictures"]) == 3
    assert all(len(run["tokens"]) == 16 and run["logits"] for run in record["twin"]["running"].values())


def test_the_shipped_passports_are_small_and_of_nothing_else():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 1_000_000
    assert sorted(path.stem for path in SHIPPED.iterdir()) == list_models()


@pytest.mark.parametrize("name", FEW)
def test_a_tiny_twin_is_what_its_passport_says(name):
    report = verify_model(name)
    assert report.is_clean, str(report)
    assert {"configuration", "tokenizer", "processor", "tensors", "layers", "logits"} <= report.checked.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in list_models() if name not in FEW])
def test_every_tiny_twin_is_what_its_passport_says(name):
    report = verify_model(name)
    assert report.is_clean, str(report)


def test_a_twin_that_several_cards_share_is_kept_once():
    cards = {name: load_card(name) for name in list_models()}
    miniatures = {name: json.dumps([card.miniature(), card.tiny_adapters]) for name, card in cards.items()}
    for name in cards:
        held = json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))["twin"]
        same = [other for other in cards if miniatures[other] == miniatures[name]]
        first = min(same, key=lambda other: (len(other), other))
        assert (held if isinstance(held, str) else name) == first


def test_one_perturbed_tensor_is_named_with_the_first_layer_that_answers_otherwise(folder, passport):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    [name] = [name for name in tensors if name.endswith("layers.1.mlp.up_proj.weight") and "language" in name]
    tensors[name] = tensors[name] * 1.5
    save_file(tensors, path, metadata={"format": "pt"})
    report = check_folder(folder, passport)
    assert [d.place for d in report.departures if d.stage == "tensors"] == [f"`{name}`"]
    assert first_of(report, "layers").place == f"`{name.rsplit('.', 3)[0]}`"
    assert f"tensors: `{name}` must be" in str(report)


def test_the_smallest_change_of_one_number_is_seen(folder, passport):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] += 2.0**-15
    save_file(tensors, path, metadata={"format": "pt"})
    assert [d.place for d in check_folder(folder, passport).departures] == [f"`{name}`"]


def test_one_changed_preprocessing_flag_is_named_and_so_is_the_step(folder, passport):
    edit_json(folder / "processor_config.json", lambda held: held["image_processor"].update(do_pad=False))
    report = check_folder(folder, passport)
    assert report.departures[0].place == "`image_processor.do_pad`"
    assert (report.departures[0].expected, report.departures[0].found) == (True, False)
    assert any(departure.place == "values of `pixel_values` of picture `wide`" for departure in report.departures)


def test_one_changed_rope_value_is_named_and_so_are_the_frequencies(folder, passport):
    def edit(held):
        held["text_config"]["rope_parameters"]["rope_theta"] = 20000.0

    edit_json(folder / "config.json", edit)
    report = check_folder(folder, passport)
    assert report.departures[0].place == "`text_config.rope_parameters.rope_theta`"
    assert (report.departures[0].expected, report.departures[0].found) == (10000.0, 20000.0)
    assert first_of(report, "tensors").place.endswith("inv_freq`")
    assert first_of(report, "layers").place == "`language_model.model.rotary_emb`"


def test_two_swapped_rows_of_the_tokenizer_are_named(folder, passport):
    def edit(held):
        vocabulary = held["model"]["vocab"]
        one, other = (next(token for token, row in vocabulary.items() if row == wanted) for wanted in (300, 400))
        vocabulary[one], vocabulary[other] = 400, 300

    edit_json(folder / "tokenizer.json", edit)
    report = check_folder(folder, passport)
    rows = [d for d in report.departures if d.stage == "tokenizer" and d.place.startswith("row")]
    assert [row.place for row in rows] == ["row 300", "row 400"]
    assert "whose token stands in row 400 now" in str(rows[0])


def test_a_folder_makes_and_replays_its_own_passport(folder):
    assert run("verify", folder, "--make").stdout.strip() == str(folder / "passport.json")
    assert "all as it was" in run("verify", folder).stdout
    edit_json(folder / "config.json", lambda held: held["text_config"].update(rms_norm_eps=1e-2))
    assert "configuration: `text_config.rms_norm_eps`" in run("verify", folder, code=1).stdout


def test_published_weights_get_a_passport_and_are_replayed(tmp_path, monkeypatch):
    from vlmzoo.hub.passport import published

    monkeypatch.setattr(published, "build_model", lambda name, **_: make_twin(name))
    words = ("verify", NAME, "--download", "--out", tmp_path / "kept")
    monkeypatch.setattr(passports, "check_entry", lambda name: passports.PassportReport(about=name, checked={}))
    assert "published weights of llava-1.5-7b: " in run(*words).stdout
    assert (tmp_path / "kept" / f"{NAME}.json").is_file()
    assert "all as it was" in run(*words).stdout
    monkeypatch.setattr(published, "build_model", lambda name, **_: make_twin("llava-1.5-7b-hf"))
    assert "departures" in run(*words, code=1).stdout


def test_what_cannot_be_fetched_does_not_stop_the_others(tmp_path, monkeypatch):
    from vlmzoo.errors import HubError
    from vlmzoo.hub.passport import published

    def fail(name, **_):
        raise HubError(f"`{name}` cannot be reached; try again.")

    monkeypatch.setattr(published, "build_model", fail)
    monkeypatch.setattr(passports, "check_entry", lambda name: passports.PassportReport(about=name, checked={}))
    done = run("verify", NAME, "qwen2-vl-2b", "--download", "--out", tmp_path, code=1)
    assert done.stderr.count("failed: ") == 2
    assert done.stdout.count("all as it was") == 2


def test_under_all_no_failure_stops_those_that_follow(monkeypatch):
    import vlmzoo

    def check(name):
        if name == "qwen2-vl-2b":
            return passports.PassportReport(about=name, checked={})
        raise {"a": ConfigError, "b": RegistryError, "c": CheckpointError}[name](f"no {name}.")

    monkeypatch.setattr(vlmzoo, "list_models", lambda: ["a", "b", "c", "qwen2-vl-2b"])
    monkeypatch.setattr(passports, "check_entry", check)
    done = run("verify", "--all", code=1)
    assert done.stderr.splitlines() == ["failed: no a.", "failed: no b.", "failed: no c."]
    assert "qwen2-vl-2b" in done.stdout


def test_published_weights_run_where_and_as_they_are_asked_to_and_are_replayed_with_the_same_dtype(
    tmp_path, monkeypatch
):
    from vlmzoo.hub.passport import published

    built = []

    def build(name, *, pretrained, device, dtype):
        built.append((device, dtype))
        model = make_twin(name)
        return model if dtype == "auto" else model.to(getattr(torch, dtype))

    monkeypatch.setattr(published, "build_model", build)
    monkeypatch.setattr(passports, "check_entry", lambda name: passports.PassportReport(about=name, checked={}))
    words = ("verify", NAME, "--download", "--out", tmp_path)
    run(*words, "--device", "cpu", "--dtype", "bfloat16")
    assert json.loads((tmp_path / f"{NAME}.json").read_text())["dtype"] == "bfloat16"
    run(*words)
    assert built == [("cpu", "bfloat16"), (None, "bfloat16")]
    told = run(*words, "--dtype", "float32", code=2).stderr
    assert "`dtype` must be bfloat16, with which" in told and "is float32 instead" in told
    run(*words, "--dtype", "float32", "--make")
    assert json.loads((tmp_path / f"{NAME}.json").read_text())["dtype"] == "float32"


class TestBadInput:
    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["--all", NAME], "`--all` stands for every model of the zoo, but llava-1.5-7b is named"),
            ([NAME, "--out", "x"], "`--out` is where passports of models of the zoo go"),
            (["FOLDER", "--make", "--out", "x"], "The passport of a folder lies in it"),
            (["FOLDER", "--download"], "only folders are named"),
            ([NAME, "--device", "cpu"], "give --download, or leave them out"),
            ([NAME, "--dtype", "float32"], "give --download, or leave them out"),
            ([NAME, "--download", "--device", "nowhere"], "must be one of this machine"),
            ([NAME, "--download", "--dtype", "bfloat61"], "Did you mean `bfloat16`"),
            ([NAME, "--keys", "--against", "x", "--make"], "--make has no effect"),
            ([NAME, "--keys", "--against", "x", "--download", "--dtype", "float32"], "--download, --dtype has no"),
        ],
    )
    def test_an_option_without_an_effect_is_refused(self, folder, monkeypatch, words, sentence):
        monkeypatch.setattr(passports, "check_entry", lambda name: pytest.fail("it was checked"))
        assert sentence in run("verify", *[folder if word == "FOLDER" else word for word in words], code=2).stderr

    def test_nothing_to_verify(self):
        assert "must be given a model" in run("verify", code=2).stderr

    def test_a_folder_without_a_passport(self, folder):
        with pytest.raises(CheckpointError, match=r"passport.json` must be a passport, but does not exist.*--make"):
            verify_model(folder)
        assert "failed: " in run("verify", folder, code=1).stderr

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"about": "a", "versions": {}, "format": 99}'])
    def test_what_is_no_passport(self, tmp_path, content):
        (tmp_path / "passport.json").write_text(content, encoding="utf-8")
        with pytest.raises(CheckpointError, match="passport"):
            read_passport(tmp_path)

    def test_an_unknown_name(self):
        with pytest.raises(RegistryError, match="Did you mean `llava-1.5-7b`"):
            verify_model("llava-1.5-7bb")

    def test_a_model_without_a_source(self):
        with pytest.raises(ConfigError, match="`source` must be given with a model"):
            verify_model(make_twin(NAME))

    def test_a_record_of_the_zoo_needs_a_place(self):
        assert "needs `--out`" in run("verify", NAME, "--make", code=2).stderr


def test_a_field_that_another_version_of_transformers_lost_or_won_is_passed_over(passport):
    from vlmzoo.hub.passport.compare import compare_passports

    other = json.loads(json.dumps(passport))
    other["configuration"]["a_new_field"] = 1
    other["configuration"].pop("text_config.vocab_size")
    assert [d.place for d in compare_passports(passport, other).departures] == [
        "`text_config.vocab_size`",
        "`a_new_field`",
    ]
    other["versions"]["transformers"] = "99.0"
    report = compare_passports(passport, other)
    assert report.is_clean and "made with transformers" in report.note


def test_the_bits_of_a_twin_follow_from_its_names(passport):
    again = make_passport(make_twin(NAME), about="again")
    assert again["tensors"]["stored"] == passport["tensors"]["stored"]

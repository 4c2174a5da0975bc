"""Hugging Face data sets: saved ones, with a column mapping, and what is asked of the Hub."""

import pickle
import sys

import pytest
from PIL import Image

from vlmzoo.data.images import load_image
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.errors import ConfigError, DataError, HubError, MissingExtraError
from vlmzoo.integrations.hf_datasets import open_dataset


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    package = pytest.importorskip("datasets")
    monkeypatch.setattr(package.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    package.disable_progress_bars()
    return package


@pytest.fixture
def saved(datasets, tmp_path):
    """A folder of two splits with one image and three columns, as ViRFT's sets have them."""
    features = datasets.Features(
        {"image": datasets.Image(), "problem": datasets.Value("string"), "solution": datasets.Value("string")}
    )
    pictures = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "lime")]
    rows = {"image": pictures, "problem": ["p", "q", "r"], "solution": ["1", "2", "3"]}
    whole = datasets.Dataset.from_dict(rows, features=features)
    folder = tmp_path / "saved"
    datasets.DatasetDict({"train": whole, "test": whole.select([2])}).save_to_disk(str(folder))
    return folder


VIRFT = {"columns": {"prompt": "problem"}, "reference": "solution"}


def test_columns_are_mapped_and_images_stay_encoded(saved):
    source = SOURCES.build({"type": "hf_dataset", "path": str(saved), **VIRFT})
    assert source.size == 3
    sample = source.sample(1)
    assert sample.messages == [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "q"}]}]
    assert (sample.reference, sample.meta, sample.id) == ("2", {}, "1")
    assert load_image(sample.images[0]).getpixel((0, 0)) == (0, 0, 255)
    stored = source.rows.row(1)["image"]
    assert isinstance(stored["bytes"], bytes)


def test_a_split_is_chosen_and_an_unknown_one_answered(saved):
    assert SOURCES.build({"type": "hf_dataset", "path": str(saved), "split": "test", **VIRFT}).size == 1
    with pytest.raises(ConfigError, match="has no split `trian`. Did you mean `train`. Known: train, test"):
        SOURCES.build({"type": "hf_dataset", "path": str(saved), "split": "trian", **VIRFT})


def test_a_source_is_carried_by_the_names_of_its_files(saved):
    source = SOURCES.build({"type": "hf_dataset", "path": str(saved), **VIRFT})
    again = pickle.loads(pickle.dumps(source))
    for position in range(3):
        assert again.sample(position).messages == source.sample(position).messages


def test_a_data_set_without_splits_is_taken_whole(datasets, tmp_path):
    said = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    datasets.Dataset.from_list([{"talk": said, "id": "x"}]).save_to_disk(str(tmp_path / "one"))
    spec = {"type": "hf_dataset", "path": str(tmp_path / "one"), "format": "llava_json"}
    sample = SOURCES.build({**spec, "columns": {"conversations": "talk"}}).sample(0)
    assert [message["role"] for message in sample.messages] == ["user", "assistant"]
    assert sample.id == "x"


def test_a_folder_of_parquet_files_is_mapped_into_memory(datasets, tmp_path):
    data = datasets.Dataset.from_list([{"instruction": "q", "input": "more", "output": "a"}])
    (tmp_path / "plain").mkdir()
    data.to_parquet(str(tmp_path / "plain" / "train.parquet"))
    source = SOURCES.build({"type": "hf_dataset", "path": str(tmp_path / "plain"), "format": "alpaca"})
    assert source.sample(0).messages[0]["content"] == [{"type": "text", "text": "q\nmore"}]


def test_a_broken_image_is_a_fault_of_its_row(datasets, tmp_path):
    features = datasets.Features({"image": datasets.Image(), "prompt": datasets.Value("string")})
    rows = [{"image": {"bytes": b"nothing", "path": None}, "prompt": "q"}, {"image": None, "prompt": "q"}]
    datasets.Dataset.from_list(rows, features=features).save_to_disk(str(tmp_path / "broken"))
    source = SOURCES.build({"type": "hf_dataset", "path": str(tmp_path / "broken")})
    with pytest.raises(RowError, match="Row 0 of .*broken`: an image of 7 bytes"):
        source.sample(0)
    assert not source.sample(1).images


@pytest.mark.parametrize(
    ("spec", "error", "match"),
    [
        ({}, ConfigError, "Exactly one of `repo` and `path` must be given"),
        ({"path": "x", "repo": "a/b"}, ConfigError, "Exactly one of `repo` and `path`"),
        ({"path": "x", "format": "tlr"}, ConfigError, "`format` must be one of trl, .* Did you mean `trl`"),
    ],
)
def test_specs_that_cannot_be_are_refused_before_anything_is_read(spec, error, match):
    with pytest.raises(error, match=match):
        SOURCES.build({"type": "hf_dataset", **spec})


def test_columns_that_are_not_there_and_folders_that_are_none_are_named(saved, tmp_path):
    with pytest.raises(ConfigError, match="names `porblem`, which the data set does not have. Did you mean `problem`"):
        SOURCES.build({"type": "hf_dataset", "path": str(saved), "columns": {"prompt": "porblem"}})
    with pytest.raises(DataError, match=r"nowhere` cannot be loaded .*check `path`, `name` and `split`"):
        SOURCES.build({"type": "hf_dataset", "path": str(tmp_path / "nowhere")})


def test_the_hub_is_asked_for_name_split_and_revision(datasets, monkeypatch):
    asked = []
    data = datasets.Dataset.from_dict({"prompt": ["q"]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: asked.append((args, options)) or data)
    spec = {"repo": "owner/data", "name": "small", "split": "train[:1]", "revision": "abc"}
    assert SOURCES.build({"type": "hf_dataset", **spec}).size == 1
    expected = {"name": "small", "split": "train[:1]", "revision": "abc", "data_dir": None}
    assert asked == [(("owner/data",), expected)]


def test_what_the_hub_refuses_is_told_in_a_sentence(datasets, monkeypatch):
    def refuse(*args, **options):
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(HubError, match=r"`owner/data` cannot be loaded \(no route\); check `repo`"):
        open_dataset(repo="owner/data")


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"`datasets` is not installed; .*vlmzoo\[data\]"):
        open_dataset(repo="owner/data")

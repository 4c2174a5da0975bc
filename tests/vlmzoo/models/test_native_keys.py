"""Native bases under every name that they are published under: what we say of a folder is what transformers finds."""

import json
import re
from functools import cache

import pytest
import torch
import transformers
from safetensors.torch import save_file

from vlmzoo import build_model, load_model
from vlmzoo.checkpoint import export_layout, save_model
from vlmzoo.errors import CheckpointError
from vlmzoo.hub.verify import verify_model
from vlmzoo.models.llava.keys import TABLES as COMPOSED_TABLES
from vlmzoo.models.native.keys import TABLES
from vlmzoo.models.weights import load_into, read_shapes, shapes_of, tied_keys
from vlmzoo.zoo import list_models, load_card

CARDS = [name for name in list_models() if load_card(name).family == "native"]
PUBLISHED = {  # from the names in memory to those of the published files, spelt out once more
    "llava": {
        r"^model\.language_model\.": "language_model.model.",
        r"^lm_head\.": "language_model.lm_head.",
        r"^model\.multi_modal_projector\.": "multi_modal_projector.",
        r"^model\.vision_tower\.": "vision_tower.vision_model.",
    },
    "internvl": {
        r"^model\.language_model\.": "language_model.model.",
        r"^lm_head\.": "language_model.lm_head.",
        r"^model\.multi_modal_projector\.": "multi_modal_projector.",
        r"^model\.vision_tower\.": "vision_tower.",
    },
    "qwen2_vl": {r"^model\.language_model\.": "model.", r"^model\.visual\.": "visual."},
    "qwen2_5_vl": {r"^model\.language_model\.": "model.", r"^model\.visual\.": "visual."},
    "qwen3_vl": {},
}
WRITTEN = {  # the layouts in which a model of this type can be written, the one that transformers 5 writes anew first
    "llava": ("llava_hf_5_files", "llava_hf_4", "transformers_5"),
    "internvl": ("internvl_hf", "transformers_5"),
    "qwen2_vl": ("qwen2_vl", "transformers_5"),
    "qwen2_5_vl": ("qwen2_vl", "transformers_5"),
    "qwen3_vl": ("transformers_5",),
}


@cache
def miniature(name, *, device=None):
    torch.manual_seed(0)
    return build_model(load_card(name).miniature(), device=device)


@pytest.fixture(params=CARDS)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return miniature(name)


def type_of(model):
    """Transformers' own class, which is what everybody else reads a folder with."""
    return getattr(transformers, type(model).__name__)


def as_published(model, *, with_tied_head=False):
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    if tied_keys(model) and not with_tied_head:
        del state["lm_head.weight"]
    for pattern, replacement in PUBLISHED[model.config.model_type].items():
        state = {re.sub(pattern, replacement, key): tensor for key, tensor in state.items()}
    return state


def write(tensors, model, folder):
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(folder)
    return folder


def check_clean(report, model, *, layout):
    assert (report.layout, report.missing, report.unexpected, report.mismatched) == (layout, (), (), ())
    assert (report.dropped, report.cut) == ({}, {})
    assert report.num_matched >= len(model.state_dict()) - len(tied_keys(model))


def check_same(loaded, model):
    kept, found = model.state_dict(), loaded.state_dict()
    assert kept.keys() == found.keys() and all(torch.equal(kept[key], found[key]) for key in kept)


def check_transformers_reads(folder, model):
    """Nothing is missing, nothing is left over, and every tensor is the same."""
    loaded, report = type_of(model).from_pretrained(folder, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    check_same(loaded, model)
    return loaded


def test_every_miniature_has_its_names_spelt_out_here():
    types = {load_card(name).architecture.model_type for name in CARDS}
    assert types == PUBLISHED.keys() == WRITTEN.keys()


def test_a_published_folder_is_clean_and_transformers_reads_it_likewise(name, model, tmp_path):
    folder = write(as_published(model), model, tmp_path / "hf")
    check_clean(verify_model(model, folder), model, layout=load_card(name).weights.layout)
    check_transformers_reads(folder, model)


def test_a_published_folder_is_loaded(model, tmp_path):
    folder = write(as_published(model), model, tmp_path / "hf")
    model.processor.save_pretrained(folder)
    check_same(load_model(folder)[0], model)


def test_a_saved_folder_is_clean(model, tmp_path):
    report = verify_model(model, save_model(model, model.processor, tmp_path / "ours"))
    assert report.layout in WRITTEN[model.config.model_type]
    check_clean(report, model, layout=report.layout)


def test_a_saved_folder_has_the_names_that_transformers_writes(model, tmp_path):
    folder = save_model(model, model.processor, tmp_path / "ours")
    own = type_of(model)(model.config)
    own.load_state_dict(model.state_dict())
    own.save_pretrained(tmp_path / "theirs")
    assert read_shapes(folder) == read_shapes(tmp_path / "theirs")
    assert verify_model(model, folder).layout == WRITTEN[model.config.model_type][0]


def test_what_transformers_saves_again_keeps_the_published_names(name, model, tmp_path):
    folder = write(as_published(model), model, tmp_path / "hf")
    type_of(model).from_pretrained(folder).save_pretrained(tmp_path / "again")
    assert read_shapes(tmp_path / "again") == read_shapes(folder)
    check_clean(verify_model(model, tmp_path / "again"), model, layout=load_card(name).weights.layout)


def test_every_layout_that_can_be_written_is_read_by_us_and_by_transformers(name, model, tmp_path):
    for layout in WRITTEN[model.config.model_type]:
        folder = export_layout(model, model.processor, tmp_path / layout, layout)
        check_clean(verify_model(model, folder), model, layout=layout)
        check_transformers_reads(folder, model)
        planned = build_model(load_card(name).miniature(), device="meta")
        assert load_into(planned, folder, TABLES[layout]).is_clean
        check_same(planned, model)


def test_a_model_on_the_meta_device_is_compared_just_as_well(name, model, tmp_path):
    folder = write(as_published(model), model, tmp_path / "hf")
    check_clean(verify_model(miniature(name, device="meta"), folder), model, layout=load_card(name).weights.layout)


def test_only_a_tied_head_may_be_left_out(name, model, tmp_path):
    layout = load_card(name).weights.layout
    head, table = (
        TABLES[layout].to_theirs("lm_head.weight"),
        TABLES[layout].to_theirs("model.language_model.embed_tokens.weight"),
    )
    tensors = as_published(model, with_tied_head=True)
    is_tied = bool(tied_keys(model))
    assert is_tied == load_card(name).architecture.config["tie_word_embeddings"]

    def missing_without(number, *keys):
        kept = {key: tensor for key, tensor in tensors.items() if key not in keys}
        return verify_model(model, write(kept, model, tmp_path / str(number))).missing

    assert missing_without(0) == ()
    assert missing_without(1, head) == (() if is_tied else (head,))
    assert missing_without(2, table) == (() if is_tied else (table,))
    assert set(missing_without(3, head, table)) == {head, table}


def test_qwen2_vl_2b_is_whole_without_a_head_and_its_larger_sister_is_not(tmp_path):
    for name, missing in (("qwen2-vl-2b", ()), ("qwen2-vl-7b", ("lm_head.weight",))):
        shapes = TABLES["qwen2_vl"].dict_to_theirs(shapes_of(build_model(name, device="meta")))
        del shapes["lm_head.weight"]
        manifest = tmp_path / f"{name}.json"
        manifest.write_text(json.dumps({"shapes": shapes}), encoding="utf-8")
        assert verify_model(name, manifest).missing == missing


@pytest.mark.parametrize(
    ("native", "composed"),
    [("llava_hf_4", "llava_hf_4"), ("llava_hf_5_files", "llava_hf_5_files"), ("transformers_5", "llava_hf_5")],
)
def test_llava_has_the_same_published_names_as_a_native_and_as_a_composed_base(native, composed):
    ours = TABLES[native].dict_to_theirs(shapes_of(build_model("llava-1.5-7b-hf", device="meta")))
    others = COMPOSED_TABLES[composed].dict_to_theirs(shapes_of(build_model("llava-1.5-7b", device="meta")))
    assert ours.keys() == others.keys()
    padded = {key for key in ours if ours[key] != others[key]}
    assert padded == set(COMPOSED_TABLES[composed].cuts)


class TestBadInput:
    def test_a_layout_of_another_architecture_is_not_written(self, model, tmp_path):
        for layout in TABLES.keys() - set(WRITTEN[model.config.model_type]):
            with pytest.raises(CheckpointError, match=f"Layout `{layout}` has no name for our `"):
                export_layout(model, model.processor, tmp_path / layout, layout)
            assert not (tmp_path / layout).exists()

    @pytest.mark.parametrize("part", ["norm", "vis", "layers.1", "embed_tokens"])
    def test_a_key_that_is_misspelt_is_named_beside_the_one_that_is_missing(self, name, model, part, tmp_path):
        tensors = as_published(model)
        key = next(key for key in tensors if part in key)
        tensors[f"{key}s"] = tensors.pop(key)
        report = verify_model(model, write(tensors, model, tmp_path / "hf"))
        tied = ("lm_head.weight",) if part == "embed_tokens" and tied_keys(model) else ()
        assert (report.missing, report.unexpected) == ((key, *tied), (f"{key}s",))
        assert f"`{key}s` Did you mean `{key}`?" in str(report)

    def test_a_folder_without_vision_is_recognised_all_the_same(self, name, model, tmp_path):
        tensors = {key: tensor for key, tensor in as_published(model).items() if "vis" not in key}
        report = verify_model(model, write(tensors, model, tmp_path / "hf"))
        assert report.layout == load_card(name).weights.layout
        assert report.missing == tuple(key for key in as_published(model) if "vis" in key)
        assert report.unexpected == ()

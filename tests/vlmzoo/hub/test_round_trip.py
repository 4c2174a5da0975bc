"""Save, load, push, load by id: the same model on every base; and what a loader says when the Hub does not help."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoProcessor

from tests.vlmzoo.adapters import probe  # noqa: F401  (registers it)
from tests.vlmzoo.adapters.bases import BASES, make_base
from tests.vlmzoo.adapters.search_samples import make_batch as make_search_batch
from tests.vlmzoo.adapters.search_samples import make_sample as make_search_sample
from tests.vlmzoo.adapters.search_samples import search_spec
from tests.vlmzoo.adapters.seg_samples import make_batch, make_sample, seg_spec
from tests.vlmzoo.adapters.test_folder import assert_same, make_trained
from tests.vlmzoo.adapters.test_roi import make_samples as make_roi_samples
from tests.vlmzoo.adapters.test_switch import SWITCH, make_question, on
from vlmzoo import build_model, load_model, push_model
from vlmzoo.checkpoint import save_model
from vlmzoo.data.prompting import awaited_ids, sampling_exclusions
from vlmzoo.errors import CheckpointError, HubError
from vlmzoo.models.registration import register_auto_classes
from vlmzoo.types import assistant
from vlmzoo.zoo import load_card


@pytest.mark.parametrize("name", BASES)
def test_a_model_comes_back_from_the_hub_as_it_was(hub, tmp_path, name):
    model = make_trained(name)
    folder = save_model(model, model.processor, tmp_path / "model")
    loaded, processor = load_model(folder)
    push_model(save_model(loaded, processor, tmp_path / "again"), "alice/tiny")
    fetched, _ = load_model("alice/tiny")
    assert_same(model, fetched)


@pytest.mark.parametrize("name", ["llava-1.5-7b", "eagle-x2-llama3-8b", "qwen2.5-vl-3b"])
def test_masks_come_back_from_the_hub_as_they_were(hub, tmp_path, name):
    torch.manual_seed(0)
    model = build_model(load_card(name).miniature(), adapters=[seg_spec()]).eval()
    batch = make_batch(model, [make_sample(number, num_masks=number) for number in (1, 0, 2)])
    push_model(save_model(model, model.processor, tmp_path / "model"), "alice/tiny-seg")
    fetched, _ = load_model("alice/tiny-seg", dtype="float32")
    with torch.no_grad():
        expected, found = (one.eval()(**batch.inputs).adapters["seg"]["mask_logits"] for one in (model, fetched))
    assert expected.numel() > 0 and expected.std() > 0
    assert torch.equal(expected, found)


ADAPTERS = {
    "switch": (SWITCH, lambda number: make_question(number, num_objects=number)),
    "roi": ({"type": "roi", "wording": "where", "least_side_px": 8}, lambda number: roi_samples(number)[1]),
    "search": (search_spec(), make_search_sample),
}


def roi_samples(number):
    return make_roi_samples(make_base("llava-llama", adapters=["roi"]).adapters["roi"], number)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("name", ["llava-1.5-7b", "qwen2.5-vl-3b"])
def test_what_looks_comes_back_from_the_hub_as_it_was(hub, tmp_path, name, adapter):
    torch.manual_seed(0)
    spec, make = ADAPTERS[adapter]
    architecture = load_card(name).miniature()
    model = build_model(architecture, adapters=[on(architecture, spec)]).eval()
    samples = [make(number) for number in (1, 2)]
    answered = [
        one if one.messages[-1]["role"] == "assistant" else replace(one, messages=[*one.messages, assistant("Red.")])
        for one in samples
    ]
    batch = make_search_batch(model, answered)
    push_model(save_model(model, model.processor, tmp_path / "model"), "alice/tiny-looking")
    fetched, processor = load_model("alice/tiny-looking", dtype="float32")
    again = make_search_batch(fetched, answered)
    assert set(fetched.attached) == {adapter}
    assert processor.encode(answered[0]).keys() == model.processor.encode(answered[0]).keys()
    assert torch.equal(batch.inputs["pixel_values"], again.inputs["pixel_values"])
    with torch.no_grad():
        expected, found = model(**batch.inputs), fetched.eval()(**again.inputs)
    torch.testing.assert_close(found.logits, expected.logits, atol=0, rtol=0)
    for output, value in (expected.adapters or {}).get(adapter, {}).items():
        assert value.numel() > 0
        torch.testing.assert_close(found.adapters[adapter][output], value, atol=0, rtol=0)
    kept, restored = (one.adapters[adapter].state_dict() for one in (model, fetched))
    assert kept.keys() == restored.keys() and all(torch.equal(kept[key], restored[key]) for key in kept)
    if adapter == "roi":
        assert (fetched.adapters["roi"].wording, fetched.adapters["roi"].least_side_px) == ("where", 8)


def test_adapters_are_heard_with_a_processor_that_does_not_know_them(tmp_path):
    model = build_model(load_card("llava-1.5-7b").miniature(), adapters=[seg_spec()])
    register_auto_classes()
    processor = AutoProcessor.from_pretrained(save_model(model, model.processor, tmp_path / "model"))
    assert not getattr(processor, "adapter_tokens", ())
    (token_id,) = awaited_ids(model, processor)
    assert processor.tokenizer.convert_ids_to_tokens(token_id) == "[SEG]"
    assert token_id in processor.tokenizer.all_special_ids
    assert token_id not in sampling_exclusions(processor, keep=awaited_ids(model, processor))


def test_a_revision_is_loaded_by_its_name(hub, tmp_path):
    first, second = make_base("llava-llama", seed=1), make_base("llava-llama", seed=2)
    push_model(save_model(first, first.processor, tmp_path / "first"), "alice/tiny")
    push_model(save_model(second, second.processor, tmp_path / "second"), "alice/tiny", revision="second")
    for revision, model in ((None, first), ("second", second)):
        loaded, _ = load_model("alice/tiny", revision=revision)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    with pytest.raises(HubError, match="no revision `third`"):
        load_model("alice/tiny", revision="third")


def test_a_base_on_the_hub_is_fetched_for_adapters_that_name_it(hub, tmp_path):
    base = make_base("llava-llama")
    push_model(save_model(base, base.processor, tmp_path / "base"), "alice/base")
    model, processor = load_model("alice/base", adapters=["lora"])
    folder = save_model(model, processor, tmp_path / "model", base={"path": "alice/base", "revision": "main"})
    loaded, _ = load_model(folder)
    kept, restored = model.state_dict(), loaded.state_dict()
    assert kept.keys() == restored.keys() and all(torch.equal(kept[name], restored[name]) for name in kept)


def test_what_is_neither_a_folder_nor_an_id_is_not_asked_of_the_hub(tmp_path):
    with pytest.raises(CheckpointError, match="is no folder and no Hub id"):
        load_model(tmp_path / "missing")
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        load_model(tmp_path)

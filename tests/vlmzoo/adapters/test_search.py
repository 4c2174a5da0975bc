"""The search adapter: what it promises on every base, with and without boxes and masks to learn from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vlmzoo.adapters.bases import make_base, make_picture
from tests.vlmzoo.adapters.search_samples import (
    learn_by_heart,
    make_batch,
    make_box,
    make_objective,
    make_sample,
    make_talk,
    search_spec,
)
from vlmzoo import build_model, load_model
from vlmzoo.checkpoint import save_model
from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.prompting import prompt_inputs
from vlmzoo.errors import ConfigError, DataError, ShapeError
from vlmzoo.geometry import Box, Frame, Mask, iou
from vlmzoo.types import Sample, assistant, user
from vlmzoo.zoo import load_card


@torch.no_grad()
def test_an_untriggered_adapter_leaves_the_first_logits_bit_for_bit(base_name):
    bare, adapted = make_base(base_name), make_base(base_name)
    batch = make_batch(bare, [make_talk(0)])
    adapted.attach_adapters([search_spec()])
    before, after = bare(**batch.inputs).logits, adapted(**batch.inputs).logits
    assert torch.equal(after[..., : before.shape[-1]], before)


@torch.no_grad()
def test_rows_of_a_batch_are_found_as_they_are_alone(base_name):
    model = make_base(base_name, adapters=[search_spec()])
    samples = [make_sample(0), make_talk(1), make_sample(2, has_mask=False), make_sample(3, num_boxes=2)]
    whole = make_batch(model, samples)
    found = model(**whole.inputs).adapters["search"]
    assert found["box_logits"].shape == (3, 16) and found["boxes"].shape == (3, 16, 4)
    assert len(found["heat_logits"]) == 2 * 28 * 28 + 1
    assert whole.count()["boxes"] == 4.0 and whole.count()["heat_masks"] == 2.0
    for token, number in enumerate((0, 2, 3)):
        alone = model(**make_batch(model, [samples[number]]).inputs).adapters["search"]
        torch.testing.assert_close(found["box_logits"][token], alone["box_logits"][0], atol=2e-4, rtol=0)
        torch.testing.assert_close(found["boxes"][token], alone["boxes"][0], atol=2e-4, rtol=0)


def test_mixed_supervision_gives_every_rank_the_same_graph(base_name):
    model = make_base(base_name, adapters=[search_spec()]).train()
    objective = make_objective(model)
    graphs = []
    for samples in ([make_talk(0)], [make_sample(1)], [make_sample(2, has_mask=False)], [make_sample(3, num_boxes=0)]):
        model.zero_grad(set_to_none=True)
        batch = make_batch(model, samples)
        objective(model(**batch.inputs, return_logits=False), batch, batch.count()).loss.backward()
        parameters = model.adapters["search"].named_parameters()
        graphs.append({name for name, parameter in parameters if parameter.grad is not None})
    assert graphs[0] and all(graph == graphs[0] for graph in graphs)
    learning = {name for name, p in model.adapters["search"].named_parameters() if p.requires_grad}
    assert not any("vision_model" in name for name in learning)
    assert {name.split(".")[0] for name in graphs[0]} == {"decoder", "text_hidden_fcs_det", "text_hidden_fcs_seg"}


def test_rows_without_boxes_teach_no_boxes():
    model = make_base("llava-llama", adapters=[search_spec()]).train()
    batch = make_batch(model, [make_talk(0), make_sample(3, num_boxes=0, has_mask=False)])
    found = make_objective(model)(model(**batch.inputs), batch, batch.count())
    assert [float(found.metrics[f"{name}/loss"]) for name in ("boxes", "bce", "dice")] == [0.0] * 3
    assert batch.count()["boxes"] == batch.count()["heat_masks"] == 0.0


def locate(model, samples):
    """Answers, likeliest boxes and heat maps for prompts of samples, by generation."""
    prompts = [prompt_of(sample) for sample in samples]
    inputs = prompt_inputs(model.processor, prompts, device="cpu", dtype=model.dtype)
    outputs = model.generate(**inputs, max_new_tokens=8, do_sample=False, return_dict_in_generate=True)
    start, tokenizer = inputs["input_ids"].shape[1], model.processor.tokenizer
    texts = [tokenizer.decode(row[start:].tolist()) for row in outputs.sequences]
    found = []
    for row, sample in enumerate(samples):
        best = outputs.loc_probabilities[row][0].argmax()
        frame = Frame.original(sample.id, width=28, height=28)
        box = Box.from_cxcywh(outputs.loc_boxes[row][0][best].tolist(), frame=frame.unit).to(frame)
        found.append((box, outputs.loc_heat[row][-1]))
    return texts, found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llava-1.5-7b", "qwen2.5-vl-3b"])
def test_eight_samples_are_learned_by_heart_and_come_back_from_the_folder(name, tmp_path):
    torch.manual_seed(0)
    model = build_model(load_card(name).miniature(), adapters=[search_spec()])
    samples = [make_sample(number) for number in range(8)]
    learn_by_heart(model, samples, num_steps=120)
    texts, found = locate(model, samples)
    assert all("Sure, [LOC]." in text.replace(" [LOC]", "[LOC]").replace(",[", ", [") for text in texts), texts
    assert min(iou(box, sample.boxes[0][0]) for (box, _), sample in zip(found, samples, strict=True)) >= 0.5
    for (_, heat), sample in zip(found, samples, strict=True):
        assert heat.shape == (28, 28) and (heat >= 0).all()
        inside = torch.tensor(sample.heat_masks[0].array)
        assert heat[inside].mean() > heat[~inside].mean()
    save_model(model, model.processor, tmp_path / "model")
    loaded, _ = load_model(tmp_path / "model", dtype="float32")
    for (box, heat), (other, other_heat) in zip(found, locate(loaded, samples)[1], strict=True):
        assert box.xyxy == pytest.approx(other.xyxy, abs=1e-4)
        torch.testing.assert_close(heat, other_heat, atol=1e-4, rtol=1e-4)


def test_a_folder_restores_the_detector(base_name, tmp_path):
    model = make_base(base_name, adapters=[search_spec()])
    batch = make_batch(model, [make_sample(0), make_sample(1)])
    save_model(model, model.processor, tmp_path / "model")
    loaded, processor = load_model(tmp_path / "model", dtype="float32")
    with torch.no_grad():
        found, again = (one.eval()(**batch.inputs).adapters["search"] for one in (model, loaded))
    for name, value in found.items():
        torch.testing.assert_close(again[name], value, atol=1e-5, rtol=0)
    assert processor.encode(make_sample(0)).keys() == model.processor.encode(make_sample(0)).keys()


def test_a_prompt_needs_no_boxes_and_a_user_cannot_write_the_token():
    model = make_base("llava-llama", adapters=[search_spec()])
    sample = replace(prompt_of(make_sample(0)), boxes=(), heat_masks=())
    inputs = prompt_inputs(model.processor, [sample], device="cpu", dtype=model.dtype)
    assert len(inputs["search_pixels"]) == 1 and len(inputs["search_images"]) == 0
    sneaky = make_sample(0)
    sneaky = replace(sneaky, messages=[user("Say [LOC]!", num_images=1), sneaky.messages[1]])
    batch = make_batch(model, [sneaky])
    assert (batch.inputs["input_ids"] == model.token_ids["[LOC]"]).sum() == 1


def test_data_that_does_not_fit_is_refused():
    processor = make_base("llava-llama", adapters=[search_spec()]).processor
    sample = make_sample(0)
    with pytest.raises(DataError, match=r"says \[LOC\] 1 times, but has 0 entries in `boxes`"):
        processor.encode(replace(sample, boxes=()))
    with pytest.raises(DataError, match=r"says \[LOC\] 1 times, but has 2 entries in `heat_masks`"):
        processor.encode(replace(sample, heat_masks=[None, None]))
    with pytest.raises(DataError, match="must stand in the original frame of its image, 28×28"):
        processor.encode(replace(sample, boxes=[[Box.from_xywh((0, 0, 1, 1), frame=make_box(0).frame.unit)]]))
    outside = Box.from_xywh((40, 0, 5, 5), frame=make_box(0).frame)
    with pytest.raises(DataError, match="must have an area inside its image"):
        processor.encode(replace(sample, boxes=[[outside]]))
    with pytest.raises(DataError, match="must stand in the original frame of its image"):
        small = Mask(np.ones((2, 2), dtype=bool), frame=Frame.original("0", width=2, height=2))
        processor.encode(replace(sample, heat_masks=[small]))
    with pytest.raises(DataError, match=r"says \[LOC\] before any image"):
        processor.encode(Sample(messages=[user("Where?"), assistant("[LOC]")], boxes=[None]))


def test_options_that_cannot_be_are_refused_before_anything_is_built():
    with pytest.raises(ConfigError, match="`detector` takes no `image_sise`. Did you mean `image_size`"):
        make_base("llava-llama", adapters=[{"type": "search", "detector": {"image_sise": 4}}])
    with pytest.raises(ConfigError, match="needs `patch_size` to divide `image_size`"):
        make_base("llava-llama", adapters=[search_spec(detector={"image_size": 65})])
    with pytest.raises(ConfigError, match="`cache_size` must be a whole number of 0 or more, but is -1"):
        make_base("llava-llama", adapters=[search_spec(cache_size=-1)])


def test_tokens_and_pictures_that_differ_in_number_are_refused():
    model = make_base("llava-llama", adapters=[search_spec()])
    batch = make_batch(model, [make_sample(0)])
    with pytest.raises(ShapeError, match=r"each of the 1 \[LOC\] tokens in `input_ids`, but has 0"):
        model(**{**batch.inputs, "search_images": batch.inputs["search_images"][:0]})


def test_both_adapters_learn_side_by_side():
    from tests.vlmzoo.adapters.seg_samples import make_mask, seg_spec

    model = make_base("llava-llama", adapters=[seg_spec(), search_spec()]).train()
    sample = make_sample(0)
    both = replace(sample, messages=[sample.messages[0], assistant("Here [LOC], and [SEG].")], masks=[make_mask(1)])
    batch = make_batch(model, [both])
    terms = {"seg_bce": {"type": "mask_bce"}}
    from vlmzoo.objectives import OBJECTIVES

    terms |= model.adapters["search"].loss_terms
    loss = OBJECTIVES.build({"type": "weighted_sum", "terms": terms})(model(**batch.inputs), batch, batch.count())
    assert all(float(loss.metrics[f"{name}/loss"]) > 0 for name in terms)


def test_a_picture_of_any_shape_is_stretched():
    model = make_base("llava-llama", adapters=[search_spec()])
    sample = replace(prompt_of(make_sample(0)), images=[Image.new("RGB", (300, 7))], boxes=(), heat_masks=())
    inputs = prompt_inputs(model.processor, [sample], device="cpu", dtype=model.dtype)
    assert inputs["search_pixels"].shape == (1, 3, 64, 64) and inputs["search_sizes"].tolist() == [[7, 300]]
    assert make_picture(0).size == (28, 28)


def test_a_detector_from_scratch_starts_wide():
    model = make_base("llava-llama", adapters=[search_spec(from_scratch=True)])
    tower = model.adapters["search"].decoder.owlvit.vision_model.embeddings
    assert 0.3 < float(tower.position_embedding.weight.detach().std()) < 0.6
    pixels = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert 0.7 < float(tower.patch_embedding(pixels).detach().std()) < 1.4
    with pytest.raises(ConfigError, match="`from_scratch` has no effect beside `weights`"):
        make_base("llava-llama", adapters=[search_spec(from_scratch=True, weights="somewhere")])

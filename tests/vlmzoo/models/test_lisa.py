"""LISA's cards: miniatures, published layouts, and going on with training."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.vlmzoo.adapters.seg_samples import make_batch, make_objective, make_sample
from vlmzoo import build_model, load_model
from vlmzoo.checkpoint import save_model
from vlmzoo.errors import CheckpointError
from vlmzoo.models.llava.keys import TABLES
from vlmzoo.models.weights import load_into, write_layout
from vlmzoo.models.zero_dump import merge_zero_dump
from vlmzoo.zoo import list_models, load_card, model_info
from vlmzoo.zoo.adapter_sizes import count_adapter_parameters

NAMES = list_models("lisa-*")


def make_miniature(name="lisa-7b-v1", *, seed=0):
    torch.manual_seed(seed)
    card = load_card(name)
    return build_model(card.miniature(), adapters=card.tiny_adapters)


@pytest.mark.parametrize("name", NAMES)
def test_a_miniature_has_the_tokens_in_its_tables_and_speaks_the_authors_prompts(name):
    model = make_miniature(name)
    assert model.token_rows is None
    assert list(model.token_ids) == ["[SEG]", "<im_start>", "<im_end>"]
    processor = model.processor
    text = processor.tokenizer.decode(processor.encode(make_sample(0))["input_ids"])
    start = {"llava_v1": "<s>A chat between a curious human", "llava_llama_2": "<s>[INST] <<SYS>>"}
    assert text.startswith(start[load_card(name).architecture.processor["chat_template"]])
    assert "<im_start><image>" in text.replace(" ", "")
    assert sum(p.numel() for p in model.parameters()) * 4 < 10e6


@pytest.mark.parametrize("name", NAMES)
def test_the_size_of_the_adapter_is_that_of_its_modules(name):
    model = build_model(name, device="meta")
    assert count_adapter_parameters(load_card(name)) == {"seg": model.count_parameters()["seg"]}
    assert model_info(name).parameters == model.count_parameters()


def test_a_miniature_comes_back_from_its_folder_with_identical_masks(tmp_path):
    model = make_miniature()
    save_model(model, model.processor, tmp_path / "model")
    loaded, processor = load_model(tmp_path / "model", dtype="float32")
    batch, again = make_batch(model, [make_sample(0, num_masks=2)]), make_batch(loaded, [make_sample(0, num_masks=2)])
    assert torch.equal(batch.inputs["input_ids"], again.inputs["input_ids"])
    with torch.no_grad():
        found, expected = (one(**batch.inputs).adapters["seg"]["mask_logits"] for one in (loaded, model))
    assert torch.equal(found, expected)
    assert processor.tokenizer.convert_tokens_to_ids("[SEG]") == model.token_ids["[SEG]"]


def test_a_released_layout_is_read_and_training_goes_on(tmp_path):
    released = make_miniature(seed=1)
    write_layout(released.state_dict(), TABLES["lisa"], tmp_path / "released")
    assert "model.visual_model.mask_decoder.iou_token.weight" in load_file(tmp_path / "released" / "model.safetensors")
    model = make_miniature(seed=2)
    assert load_into(model, tmp_path / "released", TABLES["lisa"]).is_clean
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in released.state_dict().items())
    model.attach_adapters([{"type": "lora", "rank": 2, "targets": {"language_model": ["q_proj", "v_proj"]}}])
    model.train()
    batch, objective = make_batch(model, [make_sample(number) for number in range(2)]), make_objective(model)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-2)
    losses = []
    for _ in range(20):
        loss = objective(model(**batch.inputs, return_logits=False), batch, batch.count()).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("base_layer", [False, True], ids=["old-peft", "new-peft"])
def test_what_zero_to_fp32_wrote_is_merged_with_its_lora(base_layer, tmp_path):
    model = make_miniature(seed=3)
    published = TABLES["lisa"].dict_to_theirs(model.state_dict())
    lora = ("self_attn.q_proj", "self_attn.v_proj")
    dump, merged, generator = {}, dict(published), torch.Generator().manual_seed(0)
    for key, tensor in published.items():
        name = f"base_model.model.{key}"
        if "model.layers." in key and any(part in key for part in lora):
            down = torch.randn(2, tensor.shape[1], generator=generator)
            up = torch.randn(tensor.shape[0], 2, generator=generator)
            dump[name.replace(".weight", ".lora_A.default.weight")] = down
            dump[name.replace(".weight", ".lora_B.default.weight")] = up
            merged[key] = tensor + (up @ down) * (16 / 2)
            name = name.replace(".weight", ".base_layer.weight") if base_layer else name
        dump[name] = tensor
    (tmp_path / "dump").mkdir()
    torch.save(dump, tmp_path / "dump" / "pytorch_model.bin")
    folder = merge_zero_dump(tmp_path / "dump", tmp_path / "merged", lora_alpha=16)
    again = make_miniature(seed=4)
    load_into(again, folder, TABLES["lisa"])
    for name, tensor in TABLES["lisa"].dict_to_ours(merged).items():
        torch.testing.assert_close(again.state_dict()[name], tensor, atol=1e-5, rtol=1e-5)


def test_a_dump_that_is_not_whole_is_refused(tmp_path):
    key = "base_model.model.model.layers.0.self_attn.q_proj"
    torch.save({f"{key}.lora_A.default.weight": torch.zeros(2, 4)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="needs a matrix A and a matrix B"):
        merge_zero_dump(tmp_path, tmp_path / "out", lora_alpha=16)
    pair = {
        f"{key}.lora_{name}.default.weight": torch.zeros(2, 4).T if name == "B" else torch.zeros(2, 4) for name in "AB"
    }
    torch.save(pair, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        CheckpointError, match="updates `model.layers.0.self_attn.q_proj.weight`, which .* does not hold"
    ):
        merge_zero_dump(tmp_path, tmp_path / "out", lora_alpha=16)


def test_a_lora_folder_of_the_authors_habit_is_merged(tmp_path):
    base, target = make_miniature(seed=5), make_miniature(seed=6)
    published = TABLES["lisa"].dict_to_theirs(base.state_dict())
    write_layout(base.state_dict(), TABLES["lisa"], tmp_path / "base")
    key = "model.layers.0.self_attn.q_proj.weight"
    down, up = torch.randn(2, published[key].shape[1]), torch.randn(published[key].shape[0], 2)
    lora = tmp_path / "lora"
    lora.mkdir()
    prefix = "base_model.model."
    torch.save(
        {
            f"{prefix}{key.replace('.weight', '.lora_A.weight')}": down,
            f"{prefix}{key.replace('.weight', '.lora_B.weight')}": up,
        },
        lora / "adapter_model.bin",
    )
    (lora / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 16}))
    trained = {name: tensor + 1 for name, tensor in published.items() if "mask_decoder" in name or "hidden_fcs" in name}
    torch.save({f"{prefix}{name}": tensor for name, tensor in trained.items()}, lora / "non_lora_trainables.bin")
    load_into(target, tmp_path / "base", TABLES["lisa"], lora=lora)
    ours = TABLES["lisa"].to_ours
    state = target.state_dict()
    torch.testing.assert_close(state[ours(key)], published[key] + 8 * up @ down)
    assert all(torch.equal(state[ours(name)], tensor) for name, tensor in trained.items())

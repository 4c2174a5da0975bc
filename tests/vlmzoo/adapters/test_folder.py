"""The folder of a model with adapters: saved, loaded, merged, opened by others, and refused when it is not whole."""

import errno
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

import vlmzoo.auto  # noqa: F401
from tests.vlmzoo.adapters.bases import make_base, make_samples
from tests.vlmzoo.adapters.test_contract import PROBE_AND_LORA, make_batch
from vlmzoo import load_model
from vlmzoo.checkpoint import save_model
from vlmzoo.errors import CheckpointError, ConfigError, MissingExtraError
from vlmzoo.models.merging import merge_adapters


def make_trained(name, adapters=PROBE_AND_LORA):
    """A model whose adapters have moved away from where they started."""
    model = make_base(name, adapters=adapters)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model.eval()


@torch.no_grad()
def outputs_of(model, inputs):
    outputs = model(**inputs)
    return outputs.logits, outputs.adapters["probe"]["score"]


def inputs_of(model):
    """One batch for all that are compared: kernels may round by where a tensor lies in memory."""
    return make_batch(model, make_samples(3)).inputs


def assert_same(first, second):
    kept, restored = first.state_dict(), second.state_dict()
    assert kept.keys() == restored.keys()
    assert all(torch.equal(kept[name], restored[name]) for name in kept)
    inputs = inputs_of(first)
    for one, other in zip(outputs_of(first, inputs), outputs_of(second, inputs), strict=True):
        assert torch.equal(one, other)


def test_a_folder_restores_everything(base_name, tmp_path):
    model = make_trained(base_name)
    folder = save_model(model, model.processor, tmp_path / "model")
    loaded, processor = load_model(folder)
    assert_same(model, loaded)
    sample = make_samples(1)[0]
    assert processor.encode(sample)["input_ids"] == model.processor.encode(sample)["input_ids"]
    assert loaded.adapter_specs == model.adapter_specs and loaded.token_ids == model.token_ids
    again, _ = load_model(save_model(loaded, processor, tmp_path / "again"))
    assert_same(model, again)


def test_the_folder_holds_each_thing_once(base_name, tmp_path):
    model = make_trained(base_name)
    folder = save_model(model, model.processor, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    assert not any("adapters." in name or "lora_" in name or "base_layer" in name for name in weights)
    assert all(name.startswith(("adapters.probe.", "token_rows.")) for name in load_file(folder / "parts.safetensors"))
    assert all("lora_" in name for name in load_file(folder / "lora" / "adapter_model.safetensors"))
    manifest = json.loads((folder / "vlmzoo.json").read_text())
    assert list(manifest["adapters"]) == ["probe", "lora"] and manifest["new_tokens"] == ["[PROBE]"]


def test_a_base_without_adapters_is_a_plain_folder(base_name, tmp_path):
    model = make_base(base_name)
    folder = save_model(model, model.processor, tmp_path / "model")
    assert not {"vlmzoo.json", "parts.safetensors", "lora"} & {path.name for path in folder.iterdir()}


def test_the_base_may_be_named_instead_of_written_again(base_name, tmp_path):
    base = make_base(base_name)
    first = save_model(base, base.processor, tmp_path / "base")
    model, processor = load_model(first, adapters=PROBE_AND_LORA)
    second = save_model(model, processor, tmp_path / "model", base={"path": str(first)})
    assert not (second / "model.safetensors").exists()
    loaded, _ = load_model(second)
    assert_same(model, loaded)


@pytest.mark.parametrize("name", ["llava-llama", "eagle"])
def test_auto_classes_restore_the_adapters_of_composed_models(name, tmp_path):
    model = make_trained(name)
    folder = save_model(model, model.processor, tmp_path / "model")
    loaded = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    loaded.attach_processor(AutoProcessor.from_pretrained(folder))
    assert_same(model, loaded)


def test_transformers_alone_opens_a_native_folder(fresh_python, tmp_path):
    model = make_base("qwen2.5-vl")
    folder = save_model(model, model.processor, tmp_path / "model")
    batch = make_batch(model, make_samples(2))
    save_file({name: value.contiguous() for name, value in batch.inputs.items()}, tmp_path / "inputs.safetensors")
    with torch.no_grad():
        expected = model(**batch.inputs).logits
    code = f"""
import sys, torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor
model, info = AutoModelForImageTextToText.from_pretrained({str(folder)!r}, output_loading_info=True)
assert not info["missing_keys"] and not info["unexpected_keys"], info
processor = AutoProcessor.from_pretrained({str(folder)!r})
inputs = load_file({str(tmp_path / "inputs.safetensors")!r})
inputs.pop("labels")
with torch.no_grad():
    save_file({{"logits": model.eval()(**inputs).logits}}, {str(tmp_path / "logits.safetensors")!r})
assert not any(name.startswith("vlmzoo") for name in sys.modules)
print(type(model).__name__, type(processor).__name__)
"""
    assert fresh_python(code) == "Qwen2_5_VLForConditionalGeneration Qwen2_5_VLProcessor"
    torch.testing.assert_close(load_file(tmp_path / "logits.safetensors")["logits"], expected, atol=1e-5, rtol=0)


def test_auto_classes_restore_the_adapters_of_native_models_too(fresh_python, tmp_path):
    model = make_trained("qwen2.5-vl", adapters=[{"type": "lora", "rank": 4}])
    folder = save_model(model, model.processor, tmp_path / "model")
    code = f"""
import vlmzoo.auto
from transformers import AutoModelForImageTextToText
model = AutoModelForImageTextToText.from_pretrained({str(folder)!r})
print(sum(".lora_" in name for name, _ in model.named_parameters()))
"""
    assert int(fresh_python(code)) == sum(".lora_" in name for name, _ in model.named_parameters())


def test_a_folder_that_is_saved_again_holds_nothing_of_before(tmp_path):
    adapted, bare = make_trained("llava-llama"), make_base("llava-llama")
    for model in (adapted, adapted, bare):
        model.save_pretrained(tmp_path)
    assert not {"vlmzoo.json", "parts.safetensors", "lora"} & {path.name for path in tmp_path.iterdir()}


def test_plain_peft_gets_the_lora_or_an_error(tmp_path):
    from peft import PeftModel

    model = make_trained("qwen2.5-vl", adapters=[{"type": "lora", "rank": 4}])
    folder = save_model(model, model.processor, tmp_path / "model")
    base = make_base("qwen2.5-vl")
    inputs = make_batch(base, make_samples(2)).inputs
    with pytest.raises((ValueError, OSError)):
        PeftModel.from_pretrained(base, str(folder))
    with torch.no_grad():
        expected = model(**inputs).logits
        found = PeftModel.from_pretrained(base, str(folder / "lora")).eval()(**inputs).logits
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_a_merged_export_says_the_same(base_name, tmp_path, dora):
    targets = ["language_model", "projector", "encoder"]
    if base_name == "qwen2.5-vl" and dora:
        targets = ["language_model"]
    model = make_trained(base_name, adapters=["probe", {"type": "lora", "rank": 4, "targets": targets, "dora": dora}])
    inputs = inputs_of(model)
    logits, score = outputs_of(model, inputs)
    loaded, processor = load_model(save_model(model, model.processor, tmp_path / "model"))
    merged = save_model(merge_adapters(loaded), processor, tmp_path / "merged")
    assert not (merged / "lora").exists()
    again, _ = load_model(merged)
    vocabulary = len(model.processor.tokenizer)
    merged_logits, merged_score = outputs_of(again, inputs)
    is_finite = logits.isfinite()
    torch.testing.assert_close(merged_logits[is_finite], logits[is_finite], atol=1e-5, rtol=0)
    assert merged_logits.shape[-1] >= vocabulary
    torch.testing.assert_close(merged_score, score, atol=1e-5, rtol=0)


def test_a_merged_native_export_needs_transformers_alone(fresh_python, tmp_path):
    model = make_trained("qwen2.5-vl", adapters=[{"type": "lora", "rank": 4}])
    folder = save_model(merge_adapters(model), model.processor, tmp_path / "merged")
    code = f"""
from transformers import AutoModelForImageTextToText
_, info = AutoModelForImageTextToText.from_pretrained({str(folder)!r}, output_loading_info=True)
print(sorted(info["missing_keys"]), sorted(info["unexpected_keys"]))
"""
    assert fresh_python(code) == "[] []"
    assert not (folder / "vlmzoo.json").exists()


class TestBadInput:
    @pytest.fixture
    def folder(self, tmp_path):
        model = make_trained("llava-llama")
        return save_model(model, model.processor, tmp_path / "model")

    def test_missing_parts(self, folder):
        (folder / "parts.safetensors").unlink()
        with pytest.raises(CheckpointError, match=r"holds no `parts.safetensors`; nothing was left random"):
            load_model(folder)

    def test_missing_lora(self, folder):
        shutil.rmtree(folder / "lora")
        with pytest.raises(CheckpointError, match=r"holds no `lora/adapter_model.safetensors`"):
            load_model(folder)

    def test_a_part_that_is_missing_or_too_much(self, folder):
        parts = load_file(folder / "parts.safetensors")
        name = "adapters.probe.score.bias"
        save_file({key: value for key, value in parts.items() if key != name}, folder / "parts.safetensors")
        with pytest.raises(CheckpointError, match=f"`parts.safetensors` lacks `{name}`"):
            load_model(folder)
        save_file({**parts, "adapters.other.weight": parts[name].clone()}, folder / "parts.safetensors")
        with pytest.raises(CheckpointError, match=r"does not take, `adapters.other.weight`"):
            load_model(folder)

    def test_adapters_of_another_base(self, folder, tmp_path):
        other = make_base("llava-qwen2")
        place = save_model(other, other.processor, tmp_path / "other")
        for name in ("vlmzoo.json", "parts.safetensors"):
            shutil.copy(folder / name, place / name)
        shutil.copytree(folder / "lora", place / "lora")
        with pytest.raises(CheckpointError, match=r"trained on another base|lacks|does not take"):
            load_model(place)
        manifest = json.loads((place / "vlmzoo.json").read_text()) | {"model_type": "qwen2_vl"}
        (place / "vlmzoo.json").write_text(json.dumps(manifest))
        with pytest.raises(CheckpointError, match="were trained on a `qwen2_vl`, but the base is a `vlmzoo_llava`"):
            load_model(place)

    def test_a_manifest_that_is_none_or_of_a_later_format(self, folder):
        manifest = json.loads((folder / "vlmzoo.json").read_text())
        (folder / "vlmzoo.json").write_text(json.dumps(manifest | {"format": 2}))
        with pytest.raises(CheckpointError, match="has format 2"):
            load_model(folder)
        (folder / "vlmzoo.json").write_text("[]")
        with pytest.raises(CheckpointError, match="is no manifest"):
            load_model(folder)

    @pytest.mark.parametrize("name", ["model.safetensors", "parts.safetensors", "lora/adapter_model.safetensors"])
    def test_a_full_disk_leaves_nothing_half_written(self, tmp_path, monkeypatch, name):
        import safetensors.torch

        model = make_trained("llava-llama")
        folder = save_model(model, model.processor, tmp_path / "model")
        before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        real = safetensors.torch.save_file

        def full(tensors, path, *args, **kwargs):
            if str(path).endswith(name):
                path = str(path)
                with open(path, "wb") as file:  # noqa: PTH123
                    file.write(b"half")
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(tensors, path, *args, **kwargs)

        monkeypatch.setattr("vlmzoo.models.layout.save_file", full)
        monkeypatch.setattr("transformers.modeling_utils.safe_save_file", full)
        with pytest.raises(CheckpointError, match="No space left on device"):
            save_model(model, model.processor, folder)
        assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        assert [path.name for path in tmp_path.iterdir()] == ["model"]

    def test_quantization_without_its_package(self, folder):
        with pytest.raises(MissingExtraError, match=r"vlmzoo\[quant\]"):
            load_model(folder, quantization="nf4")
        with pytest.raises(ConfigError, match="must be nf4 or int8"):
            load_model(folder, quantization="nf5")

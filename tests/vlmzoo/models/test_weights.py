"""Released weights: read safely, filled in strictly, with LoRA merged as PEFT does it, and written back."""

import copy
import json
import pickle
import weakref

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaForCausalLM, LlavaForConditionalGeneration

from tests.vlmzoo.models.test_llava import IMAGE, VISION, make_inputs, make_pair, make_text_config
from vlmzoo.errors import CheckpointError, ConfigError
from vlmzoo.models import FAMILIES
from vlmzoo.models.keys import KeyTable, nearest_layout
from vlmzoo.models.llava.keys import CLIP, TABLES
from vlmzoo.models.weights import iterate_tensors, load_into, read_lora, read_shapes, tied_keys, write_layout

LLAVA = TABLES["llava"]
PLAIN = KeyTable(layout="plain", source="a test", renames={"{key:path}": "{key:path}"})
SHARD = 20_000  # bytes, so that a tiny model has several


def make_model(*, device=None, seed=0, model_type="llama", is_tied=False, **text):
    """Build our tiny LLaVA with random weights, norms and biases included."""
    spec = {
        "type": "llava",
        "encoder": {"type": "clip", "num_layers": 3, "num_heads": 4, "select_layer": -2, **VISION},
        "projector": {"type": "mlp2x_gelu"},
        "language_model": {"type": "causal_lm", **make_text_config(model_type, is_tied=is_tied), **text},
        "image_token_id": IMAGE,
    }
    torch.manual_seed(seed)
    with torch.device(device or "cpu"):
        model = FAMILIES.build(spec).eval()
    if device is None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


@torch.no_grad()
def logits_of(model):
    return model(**make_inputs()).logits


def write_bin(tensors, folder, *, num_shards):
    """Write pickled weights as the authors did: one file, or shards with an index."""
    folder.mkdir()
    keys = sorted(tensors)
    if num_shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin")
        return folder
    names = [f"pytorch_model-{number + 1:05}-of-{num_shards:05}.bin" for number in range(num_shards)]
    for number, name in enumerate(names):
        torch.save({key: tensors[key].clone() for key in keys[number::num_shards]}, folder / name)
    weight_map = {key: names[place % num_shards] for place, key in enumerate(keys)}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    torch.save({"model.mm_projector.0.weight": torch.zeros(1)}, folder / "mm_projector.bin")  # lies beside, unread
    return folder


def write_as(form, state_dict, table, folder):
    if form.startswith("bin"):
        return write_bin(table.dict_to_theirs(state_dict), folder, num_shards=3 if form == "bin-sharded" else 1)
    return write_layout(state_dict, table, folder, max_shard_size=SHARD if form == "safetensors-sharded" else "5GB")


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("form", ["safetensors", "safetensors-sharded", "bin", "bin-sharded"])
@pytest.mark.parametrize("layout", TABLES)
def test_what_is_written_in_a_layout_is_read_back_bit_for_bit(layout, form, device, tmp_path):
    table, model = TABLES[layout], make_model()
    folder = write_as(form, model.state_dict(), table, tmp_path / "weights")
    if form.endswith("sharded"):
        assert len([path for path in folder.iterdir() if "-of-" in path.name]) >= 3
    loaded = make_model(seed=1, device=None if device == "cpu" else device)
    report = load_into(loaded, folder, table)
    assert (report.is_clean, report.num_matched) == (True, len(model.state_dict()))
    assert torch.equal(logits_of(loaded), logits_of(model))


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "gemma"])
def test_what_transformers_saves_is_read_with_the_same_logits(model_type, tmp_path):
    reference, _ = make_pair(model_type, is_tied=model_type == "gemma")
    reference.save_pretrained(tmp_path / "hf")
    loaded = make_model(device="meta", model_type=model_type, is_tied=model_type == "gemma")
    load_into(loaded, tmp_path / "hf", nearest_layout(TABLES, read_shapes(tmp_path / "hf")))
    with torch.no_grad():
        expected = reference(**make_inputs()).logits
    torch.testing.assert_close(logits_of(loaded), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", [layout for layout in TABLES if layout.startswith("llava_hf")])
def test_what_is_written_is_read_by_transformers_with_the_same_logits(layout, tmp_path):
    reference, _ = make_pair("llama", is_tied=False)
    model = make_model()
    folder = write_layout(model.state_dict(), TABLES[layout], tmp_path / "hf")
    reference.config.save_pretrained(folder)
    read, report = LlavaForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    with torch.no_grad():
        found = read.eval()(**make_inputs()).logits
    torch.testing.assert_close(found, logits_of(model), atol=1e-5, rtol=0)


def test_what_transformers_holds_in_memory_is_read_with_the_same_logits(tmp_path):
    reference, _ = make_pair("llama", is_tied=False)
    save_file(reference.state_dict(), tmp_path / "model.safetensors")
    loaded = make_model(seed=1)
    load_into(loaded, tmp_path, TABLES["llava_hf_5"])
    with torch.no_grad():
        expected = reference(**make_inputs()).logits
    torch.testing.assert_close(logits_of(loaded), expected, atol=1e-5, rtol=0)


def test_the_padding_of_the_published_vocabulary_is_cut(tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1}
    padded, table = make_model(vocab_size=32064, **sizes), TABLES["llava_hf_4"]
    folder = write_layout(padded.state_dict(), table, tmp_path / "weights")
    loaded = make_model(device="meta", vocab_size=32000, **sizes)
    assert sorted(load_into(loaded, folder, table).cut) == sorted(table.cuts)
    torch.testing.assert_close(logits_of(loaded), logits_of(padded)[..., :32000], atol=1e-6, rtol=0)
    with pytest.raises(CheckpointError, match=r"`language_model\.model\.embed_tokens\.weight`, which must be \(31999"):
        load_into(make_model(device="meta", vocab_size=31999, **sizes), folder, table)


@pytest.fixture
def folder(tmp_path):
    """A tiny LLaVA in the authors' layout, single safetensors."""
    return write_layout(make_model().state_dict(), LLAVA, tmp_path / "weights")


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("key", ["model.mm_projector.0.weight", "lm_head.weight", "model.layers.1.mlp.up_proj.weight"])
@pytest.mark.parametrize("fault", ["missing", "renamed", "extra", "shape"])
def test_a_fault_is_named_and_nothing_is_loaded(folder, fault, key):
    changes = {
        "missing": lambda tensors: tensors.pop(key),
        "renamed": lambda tensors: tensors.update({f"{key}s": tensors.pop(key)}),
        "extra": lambda tensors: tensors.update({f"{key}.extra": torch.zeros(1)}),
        "shape": lambda tensors: tensors.update({key: tensors[key][1:].clone()}),
    }
    message = {
        "missing": f"lacks `{key}`",
        "renamed": f"`{key}s` Did you mean `{key}`?",
        "extra": f"holds more than the model takes: `{key}.extra`",
        "shape": f"holds tensors of another shape: `{key}`, which must be",
    }
    rewrite(folder, changes[fault])
    model = make_model(seed=1)
    before = logits_of(model)
    with pytest.raises(CheckpointError) as caught:
        load_into(model, folder, LLAVA)
    assert message[fault] in str(caught.value)
    assert torch.equal(logits_of(model), before)


def test_rotary_buffers_and_position_ids_are_left_out(folder):
    def add_buffers(tensors):
        for layer in (0, 1):
            tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)
        tensors["model.vision_tower.vision_tower.vision_model.embeddings.position_ids"] = torch.zeros(1, 5).long()

    rewrite(folder, add_buffers)
    loaded = make_model(device="meta")
    assert len(load_into(loaded, folder, LLAVA).dropped) == 3
    assert torch.equal(logits_of(loaded), logits_of(make_model()))


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "gemma"])
@pytest.mark.parametrize("is_both_written", [True, False], ids=["both", "one"])
def test_tied_tensors_may_be_written_once_or_twice_and_stay_tied(model_type, is_both_written, tmp_path):
    model = make_model(model_type=model_type, is_tied=True)
    tensors = {key: tensor.clone() for key, tensor in LLAVA.dict_to_theirs(model.state_dict()).items()}
    if not is_both_written:
        del tensors["lm_head.weight"]
    folder = write_bin(tensors, tmp_path / "weights", num_shards=1)
    for device in (None, "meta"):
        loaded = make_model(seed=1, device=device, model_type=model_type, is_tied=True)
        load_into(loaded, folder, LLAVA)
        assert loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight
        assert len(tied_keys(loaded)) == 1
        assert torch.equal(logits_of(loaded), logits_of(model))


def test_tied_tensors_that_differ_are_refused(tmp_path):
    tensors = {key: t.clone() for key, t in LLAVA.dict_to_theirs(make_model(is_tied=True).state_dict()).items()}
    tensors["lm_head.weight"][0, 0] += 1
    folder = write_bin(tensors, tmp_path / "weights", num_shards=1)
    with pytest.raises(CheckpointError, match="is tied to another tensor.*tie_word_embeddings: false"):
        load_into(make_model(is_tied=True), folder, LLAVA)


def test_a_dtype_is_that_of_the_model_or_the_one_that_is_asked_for(folder):
    model = make_model()
    for device in (None, "meta"):
        loaded = make_model(seed=1, device=device)
        load_into(loaded, folder, LLAVA, dtype=torch.bfloat16)
        assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.bfloat16}
        for name, tensor in loaded.state_dict().items():
            assert torch.equal(tensor, model.state_dict()[name].bfloat16())
    half = nn.Module.to(make_model(device="meta"), dtype=torch.float16)
    load_into(half, folder, LLAVA)
    assert half.dtype is torch.float16


def test_a_half_precision_model_from_the_meta_device_keeps_exact_rotary_frequencies(folder):
    loaded = nn.Module.to(make_model(device="meta"), dtype=torch.bfloat16)
    load_into(loaded, folder, LLAVA)
    exact = make_model().language_model.model.rotary_emb.inv_freq
    assert torch.equal(loaded.language_model.model.rotary_emb.inv_freq, exact)


def test_the_meta_device_takes_no_weights(folder):
    with pytest.raises(ConfigError, match="must be one that holds weights, but is `meta`"):
        load_into(make_model(device="meta"), folder, LLAVA, device="meta")


def test_parameters_that_do_not_learn_stay_so(folder):
    loaded = make_model(device="meta")
    loaded.encoder.requires_grad_(False)
    load_into(loaded, folder, LLAVA)
    assert not any(parameter.requires_grad for parameter in loaded.encoder.parameters())
    assert all(parameter.requires_grad for parameter in loaded.projector.parameters())


def test_a_real_model_is_filled_in_place(folder):
    model = make_model(seed=1)
    before = dict(model.named_parameters())
    load_into(model, folder, LLAVA)
    assert all(parameter is before[name] for name, parameter in model.named_parameters())


def test_buffers_that_no_checkpoint_holds_are_recomputed_for_timm(tmp_path):
    def make(device):
        options = {"embed_dim": 16, "depths": [1, 1], "num_heads": [1, 2], "window_size": 7}
        encoder = {"type": "timm", "model_name": "swin_tiny_patch4_window7_224", "image_size": 56, "options": options}
        spec = {
            "type": "llava",
            "encoder": encoder,
            "projector": {"type": "linear"},
            "language_model": {"type": "causal_lm", **make_text_config("llama", is_tied=False)},
            "image_token_id": IMAGE,
        }
        with torch.device(device):
            return FAMILIES.build(spec).eval()

    model, loaded = make("cpu"), make("meta")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    load_into(loaded, tmp_path, PLAIN)
    pixels = torch.randn(1, 3, 56, 56)
    assert torch.equal(loaded.image_features(pixels), model.image_features(pixels))


def test_a_buffer_that_nothing_recomputes_is_told(folder):
    model = make_model(device="meta")
    model.projector[1].register_buffer("scale", torch.ones(2, device="meta"), persistent=False)
    with pytest.raises(CheckpointError, match=r"buffer `projector\.1\.scale` is in no checkpoint"):
        load_into(model, folder, LLAVA)


def test_the_encoder_may_come_from_a_folder_of_its_own(tmp_path):
    model = make_model()
    parts = {"encoder": {}, "rest": {}}
    for key, tensor in model.state_dict().items():
        parts["encoder" if key.startswith("encoder.") else "rest"][key] = tensor
    text_half = {"text_model.embeddings.position_ids": torch.zeros(1, 3), "logit_scale": torch.zeros(())}
    write_layout(parts["rest"], LLAVA, tmp_path / "rest")
    write_bin(CLIP.dict_to_theirs(parts["encoder"]) | text_half, tmp_path / "clip", num_shards=1)
    loaded = make_model(device="meta")
    report = load_into(loaded, tmp_path / "rest", LLAVA, more=[(tmp_path / "clip", CLIP)])
    assert sorted(report.dropped) == ["logit_scale", "text_model.embeddings.position_ids"]
    assert torch.equal(logits_of(loaded), logits_of(model))
    with pytest.raises(CheckpointError, match=r"lacks `model\.vision_tower\.vision_tower\.vision_model\."):
        load_into(loaded, tmp_path / "rest", LLAVA)


def test_at_most_one_shard_is_held(tmp_path):
    tensors = {f"{number}.weight": torch.full((4,), float(number)) for number in range(9)}
    folder = write_bin(tensors, tmp_path / "weights", num_shards=3)
    seen, alive = {}, []
    for key, tensor in iterate_tensors(folder):
        seen[key] = weakref.ref(tensor)
        assert tensor[0] == float(key.split(".")[0])
        alive.append(sum(reference() is not None for reference in seen.values()))
    assert sorted(seen) == sorted(tensors)
    assert max(alive) <= 4  # a shard, and the last tensor of the one before


class Evil:
    """What would write a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("is_zip", [True, False], ids=["torch", "pickle"])
def test_code_in_a_pickled_file_is_refused_and_does_not_run(tmp_path, is_zip):
    content = {"model.norm.weight": torch.zeros(2), "evil": Evil(tmp_path / "ran")}
    path = tmp_path / "pytorch_model.bin"
    torch.save(content, path) if is_zip else path.write_bytes(pickle.dumps({"evil": content["evil"]}))
    with pytest.raises(CheckpointError, match=r"cannot be read|holds more than tensors.*safetensors\.torch\.save_file"):
        load_into(make_model(), tmp_path, LLAVA)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(1)], "must hold tensors by key, but holds a list"),
        ({"state_dict": {"a": torch.zeros(1)}}, "but `state_dict` is a dict"),
        ({"a": 3}, "but `a` is a int"),
    ],
)
def test_a_pickled_file_of_something_else_is_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=message):
        read_shapes(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("num_bytes", [0, 4, 300])
def test_a_cut_off_file_is_refused_by_name(name, num_bytes, tmp_path):
    tensors = {"a": torch.zeros(1000)}
    save_file(tensors, tmp_path / name) if name.endswith("safetensors") else torch.save(tensors, tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:num_bytes])
    with pytest.raises(CheckpointError, match=f"{name}` (cannot be read|holds more than tensors)"):
        read_shapes(tmp_path)


def make_sharded(folder):
    return write_layout({f"{n}.weight": torch.zeros(50) for n in range(4)}, PLAIN, folder, max_shard_size=250)


def test_faults_of_shards_and_indices_are_named(tmp_path):
    def fault_of(name, change):
        folder = make_sharded(tmp_path / name)
        shards = sorted(folder.glob("*.safetensors"))
        change(folder / "model.safetensors.index.json", shards)
        with pytest.raises(CheckpointError) as caught:
            list(iterate_tensors(folder))
        return str(caught.value)

    def list_twice(index, _):
        weight_map = json.loads(index.read_text())["weight_map"]
        pairs = ", ".join(f"{json.dumps(key)}: {json.dumps(name)}" for key, name in weight_map.items())
        index.write_text(f'{{"weight_map": {{{pairs}, "0.weight": "other.safetensors"}}}}')

    def list_elsewhere(index, _):
        index.write_text(json.dumps({"weight_map": {"0.weight": "../secret.safetensors"}}))

    assert "lacks 1 of 4 shards, first `model-00003-of-00004.safetensors`" in fault_of(
        "lost", lambda _, shards: shards[2].unlink()
    )
    assert "but no `model.safetensors.index.json`" in fault_of("no-index", lambda index, _: index.unlink())
    assert "which the index places there" in fault_of(
        "twice", lambda _, shards: shards[0].write_bytes(shards[1].read_bytes())
    )
    assert "`0.weight` stands there twice" in fault_of("listed-twice", list_twice)
    assert "is no file beside it" in fault_of("elsewhere", list_elsewhere)
    assert "cannot be used" in fault_of("broken", lambda index, _: index.write_text("{"))
    assert "remove the stale one" in fault_of(
        "both", lambda index, shards: index.with_name("model.safetensors").write_bytes(shards[0].read_bytes())
    )


def test_a_shard_with_a_key_of_another_shard_is_a_duplicate(tmp_path):
    folder = make_sharded(tmp_path / "weights")
    first, second = sorted(folder.glob("*.safetensors"))[:2]
    save_file(load_file(first) | load_file(second), second)
    with pytest.raises(CheckpointError, match=f"{second.name}` holds `0.weight`, which it does not place there"):
        read_shapes(folder)


def test_folders_without_weights_are_told_apart(tmp_path):
    with pytest.raises(CheckpointError, match="is no folder"):
        read_shapes(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_shapes(tmp_path)


def test_a_folder_with_weights_is_not_written_over(folder):
    with pytest.raises(CheckpointError, match=r"must hold no weights yet, but holds `model\.safetensors`"):
        write_layout(make_model().state_dict(), LLAVA, folder)


def make_lora(language_model, folder, **options):
    """Train nothing, but give every LoRA matrix a value; save it as PEFT does, and return PEFT's own merge."""
    settings = {"r": 4, "lora_alpha": 10, "target_modules": ["q_proj", "v_proj", "down_proj"], **options}
    wrapped = get_peft_model(copy.deepcopy(language_model), LoraConfig(task_type="CAUSAL_LM", **settings))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    wrapped.save_pretrained(folder)
    return wrapped.merge_and_unload()


def as_authors(folder, others):
    """Turn a folder of PEFT into LLaVA's habit: pickled, with a second file beside."""
    tensors = load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    torch.save(tensors, folder / "adapter_model.bin")
    torch.save(
        {f"base_model.model.{key}": tensor for key, tensor in others.items()}, folder / "non_lora_trainables.bin"
    )


@pytest.mark.parametrize("use_rslora", [False, True])
def test_a_lora_is_merged_as_peft_merges_it(use_rslora, tmp_path):
    language_model = make_model().language_model
    assert isinstance(language_model, LlamaForCausalLM)
    save_file(language_model.state_dict(), tmp_path / "model.safetensors")
    merged = make_lora(language_model, tmp_path / "lora", use_rslora=use_rslora)
    assert read_lora(tmp_path / "lora").scale == (5.0 if use_rslora else 2.5)
    loaded = make_model(seed=1).language_model
    load_into(loaded, tmp_path, PLAIN, lora=tmp_path / "lora")
    changed = 0
    for name, tensor in merged.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, atol=1e-6, rtol=0)
        changed += not torch.equal(tensor, language_model.state_dict()[name])
    assert changed == 2 * 3


@pytest.fixture
def lora(folder, tmp_path):
    """A LoRA in LLaVA's habit for the model of ``folder``, with a projector trained in full."""
    model = make_model()
    model.language_model = make_lora(model.language_model, tmp_path / "lora")
    with torch.no_grad():
        for parameter in model.projector.parameters():
            parameter.mul_(-1.5)
    projector = {LLAVA.to_theirs(f"projector.{name}"): t for name, t in model.projector.state_dict().items()}
    as_authors(tmp_path / "lora", projector)
    return tmp_path / "lora", model


@pytest.mark.parametrize("device", [None, "meta"])
def test_a_lora_in_the_habit_of_llava_is_merged_whole(folder, lora, device):
    path, expected = lora
    loaded = make_model(seed=1, device=device)
    load_into(loaded, folder, LLAVA, lora=path)
    torch.testing.assert_close(logits_of(loaded), logits_of(expected), atol=1e-5, rtol=0)
    assert not torch.allclose(logits_of(make_model()), logits_of(expected), atol=1e-2)


def test_a_base_without_projector_takes_the_one_that_was_trained(folder, lora):
    """As with the authors' LoRA of Vicuna, whose weights know nothing of images."""
    rewrite(folder, lambda tensors: [tensors.pop(key) for key in list(tensors) if "mm_projector" in key])
    loaded = make_model(device="meta")
    load_into(loaded, folder, LLAVA, lora=lora[0])
    torch.testing.assert_close(logits_of(loaded), logits_of(lora[1]), atol=1e-5, rtol=0)


def test_a_merge_into_half_precision_rounds_once(folder, lora):
    loaded = make_model(device="meta")
    load_into(loaded, folder, LLAVA, lora=lora[0], dtype=torch.bfloat16)
    exact = lora[1].language_model.model.layers[0].self_attn.q_proj.weight
    found = loaded.language_model.model.layers[0].self_attn.q_proj.weight
    torch.testing.assert_close(found.float(), exact.bfloat16().float(), atol=0, rtol=2**-8)


def edit_adapter(path, change):
    tensors = torch.load(path / "adapter_model.bin", weights_only=True)
    change(tensors)
    torch.save(tensors, path / "adapter_model.bin")


def test_a_lora_of_another_base_is_refused_with_both_shapes(folder, lora):
    settings = json.loads((lora[0] / "adapter_config.json").read_text()) | {"base_model_name_or_path": "their/base"}
    (lora[0] / "adapter_config.json").write_text(json.dumps(settings))
    wide = make_model(num_key_value_heads=4)
    other = write_layout(wide.state_dict(), LLAVA, folder.parent / "wide")
    with pytest.raises(
        CheckpointError, match=r"v_proj\.weight` of \(16, 32\), but the base's is \(32, 32\).*their/base"
    ):
        load_into(wide, other, LLAVA, lora=lora[0])
    shallow = make_model(num_hidden_layers=1)
    other = write_layout(shallow.state_dict(), LLAVA, folder.parent / "shallow")
    with pytest.raises(CheckpointError, match=r"updates `model\.layers\.1\..*, which the base does not hold"):
        load_into(shallow, other, LLAVA, lora=lora[0])


KEY = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(f"{KEY}.lora_A.weight"), "must have a matrix A and a matrix B, but has only B"),
        (lambda t: t.update({f"{KEY}.lora_A.weight": torch.zeros(0)}), "must have rank 4.*without gathering ZeRO-3"),
        (lambda t: t.update({f"{KEY}.lora_magnitude_vector": torch.zeros(32)}), "is no plain LoRA matrix"),
        (lambda t: t.update({f"{KEY}.lora_A.default.weight": torch.zeros(4, 32)}), "stands there twice"),
        (lambda t: t.update({"base_model.model.stray": torch.zeros(1)}), "holds more than the model takes: `stray`"),
    ],
)
def test_keys_of_a_lora_that_do_not_belong_are_named(folder, lora, change, message):
    edit_adapter(lora[0], change)
    with pytest.raises(CheckpointError, match=message):
        load_into(make_model(), folder, LLAVA, lora=lora[0])


def test_keys_with_the_adapters_name_are_read_as_well(folder, lora):
    def name_adapter(tensors):
        for key in list(tensors):
            tensors[key.replace("_A.weight", "_A.default.weight")] = tensors.pop(key)

    edit_adapter(lora[0], name_adapter)
    loaded = make_model(device="meta")
    load_into(loaded, folder, LLAVA, lora=lora[0])
    torch.testing.assert_close(logits_of(loaded), logits_of(lora[1]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "change",
    [
        {"use_dora": True},
        {"rank_pattern": {"q_proj": 8}},
        {"init_lora_weights": "pissa"},
        {"peft_type": "IA3"},
        {"r": 0},
    ],
    ids=str,
)
def test_a_lora_that_is_more_than_a_sum_is_refused(lora, change):
    path = lora[0] / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=f"{next(iter(change))}"):
        read_lora(lora[0])


def test_a_folder_that_is_no_lora_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"adapter_config\.json` must describe a LoRA"):
        read_lora(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
    with pytest.raises(CheckpointError, match="must hold one adapter_model"):
        read_lora(tmp_path)

"""Eagle: several encoders in one model; batches, generation, keys, folders, and what cannot be."""

import json

import pytest
import torch
from PIL import Image

from tests.vlmzoo.models.conftest import TINY_ENCODERS, make_eagle_architecture
from vlmzoo import build_model, load_model
from vlmzoo.blocks.fusion import FUSIONS
from vlmzoo.checkpoint.saving import save_model
from vlmzoo.data.collation import Collator
from vlmzoo.errors import CheckpointError, ConfigError, DataError, RegistryError, ShapeError
from vlmzoo.models.eagle.keys import TABLES, encoder_order
from vlmzoo.models.weights import load_into, write_layout
from vlmzoo.runs.efficiency import checkpoint_activations
from vlmzoo.types import Sample, assistant, user
from vlmzoo.zoo import load_card

EAGLE = TABLES["eagle"]
X5 = load_card("eagle-x5-7b").miniature()
UNREAD = ("embeddings.class_embedding", "post_layernorm.", ".head.")


def make_x5(seed=0, **changes):
    torch.manual_seed(seed)
    model = build_model({**X5, **changes})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:  # born zero
                parameter.normal_(std=0.1)
    return model


@pytest.fixture(scope="module")
def x5():
    return make_x5()


def make_picture(seed, size=(40, 50)):
    generator = torch.Generator().manual_seed(seed)
    return Image.fromarray(torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8).numpy())


def make_rows(num_images):
    """Conversations with so many images each."""
    return [
        Sample(
            messages=[user(f"Row {row}: what is it?", num_images=count), assistant(f"It is {row}.")],
            images=[make_picture(10 * row + number) for number in range(count)],
            id=str(row),
        )
        for row, count in enumerate(num_images)
    ]


def make_batch(model, num_images, side="right"):
    rows = [model.processor.encode(sample) for sample in make_rows(num_images)]
    return Collator(pad_token_id=model.processor.padding_id, side=side)(rows)


@torch.no_grad()
def test_an_image_has_the_same_features_alone_and_among_eight(x5):
    pixels = torch.randn(8, 3, *x5.image_size, generator=torch.Generator().manual_seed(0))
    together, alone = x5.feature_maps(pixels), x5.feature_maps(pixels[:1])
    assert len(together) == 5
    for many, one in zip(together, alone, strict=True):
        torch.testing.assert_close(many[:1], one, atol=1e-5, rtol=0)
    torch.testing.assert_close(x5.image_features(pixels)[:1], x5.image_features(pixels[:1]), atol=1e-5, rtol=0)


def test_no_encoder_is_called_once_for_each_image(x5):
    """The operations of a batch are as many as those of one image."""
    from torch.profiler import ProfilerActivity, profile

    def count(num):
        with profile(activities=[ProfilerActivity.CPU]) as profiler, torch.no_grad():
            x5.image_features(torch.zeros(num, 3, *x5.image_size))
        return sum(
            event.count for event in profiler.key_averages() if event.key.startswith(("aten::mm", "aten::addmm"))
        )

    assert count(8) == count(1) > 0


def test_every_encoder_sees_the_image_and_every_parameter_that_is_read_learns(x5):
    batch = make_batch(x5, [1, 0, 2])
    x5.zero_grad()
    x5(**batch.inputs, return_logits=False).loss.backward()
    idle = {name for name, p in x5.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())}
    assert all(any(part in name for part in UNREAD) for name in idle), idle
    learning = {int(name.split(".")[1]) for name, p in x5.named_parameters() if name.startswith("encoders.")}
    assert learning == {0, 1, 2, 3, 4}
    x5.zero_grad()


@pytest.mark.parametrize("num_images", [[1, 0, 2], [0, 0], [0, 1]], ids=str)
def test_rows_with_and_without_images_say_together_what_they_say_alone(x5, num_images):
    options = {"max_new_tokens": 6, "do_sample": False, "suppress_tokens": [x5.config.image_token_id]}
    prompts = [Sample(messages=s.messages[:1], images=s.images, id=s.id) for s in make_rows(num_images)]
    processor = x5.processor

    def generate(samples):
        texts = [processor.apply_chat_template(s.messages, add_generation_prompt=True) for s in samples]
        images = [image for s in samples for image in s.images]
        inputs = processor(text=texts, images=images or None, padding=True, padding_side="left", return_tensors="pt")
        return x5.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]

    together = generate(prompts)
    for row, prompt in enumerate(prompts):
        assert torch.equal(generate([prompt])[0], together[row])


def test_a_batch_without_an_image_is_a_batch_of_text(x5):
    inputs = make_batch(x5, [0, 0]).inputs
    assert "pixel_values" not in inputs
    with torch.no_grad():
        assert x5(**inputs).loss.isfinite()


def test_activations_computed_again_in_every_encoder_change_nothing():
    plain, saving = make_x5(), make_x5()
    assert checkpoint_activations(saving, ["encoder"]) > 5
    assert saving.encoders[1].gradient_checkpointing and saving.encoders[3].vision.gradient_checkpointing
    batch = make_batch(plain, [1, 1])
    for model in (plain, saving):
        model.train()(**batch.inputs, return_logits=False).loss.backward()
    for (name, one), (_, other) in zip(plain.named_parameters(), saving.named_parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), name
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4, msg=name)


class TestKeys:
    def test_what_is_written_in_the_authors_layout_is_read_back_bit_for_bit(self, x5, tmp_path):
        folder = write_layout(x5.state_dict(), EAGLE, tmp_path / "weights", max_shard_size="200KB")
        for device in ("cpu", "meta"):
            model = make_x5(seed=1) if device == "cpu" else build_model(X5, device="meta")
            report = load_into(model, folder, EAGLE)
            assert report.num_matched == len(x5.state_dict()) and not report.dropped
            for name, tensor in model.state_dict().items():
                assert torch.equal(tensor, x5.state_dict()[name]), name

    @pytest.mark.parametrize("device", ["cpu", "meta"])
    def test_a_file_with_rotary_buffers_and_another_class_head_is_read(self, x5, tmp_path, device):
        from safetensors.torch import save_file

        prefix = "model.vision_tower.vision_towers."
        tensors = EAGLE.dict_to_theirs(x5.state_dict())
        tensors |= {f"{prefix}3.vision_tower.{name}.freqs_cos": torch.zeros(2) for name in ("rope_win", "rope_glb")}
        tensors |= {f"{prefix}0.vision_tower.vision_model.embeddings.position_ids": torch.zeros(1, 2)}
        tensors |= {f"{prefix}1.vision_tower.head.fc.weight": torch.zeros(21, 24)}
        del tensors[f"{prefix}1.vision_tower.head.fc.bias"]
        folder = tmp_path / "weights"
        folder.mkdir()
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
        model = make_x5(seed=1) if device == "cpu" else build_model(X5, device="meta")
        assert len(load_into(model, folder, EAGLE).dropped) == 4
        assert not any(tensor.is_meta for tensor in model.state_dict().values())
        assert not model.encoders[1].vision.head.fc.weight.any()
        pixels = torch.randn(1, 3, *x5.image_size)
        with torch.no_grad():
            torch.testing.assert_close(model.eval().image_features(pixels), x5.image_features(pixels))

    def test_a_checkpoint_with_another_encoder_order_names_both_orders(self, x5, tmp_path):
        folder = write_layout(x5.state_dict(), EAGLE, tmp_path / "weights")
        assert encoder_order(EAGLE.dict_to_theirs(x5.state_dict())) == tuple(e["type"] for e in X5["encoders"])
        other = build_model({**X5, "encoders": [*X5["encoders"][1:], X5["encoders"][0]]})
        before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
        message = (
            r"encoders are clip_hr, convnext, sam_vit, eva02_det, pix2struct, but the model's are the same in another "
            r"order: convnext, sam_vit, eva02_det, pix2struct, clip_hr; list them under `encoders`"
        )
        with pytest.raises(CheckpointError, match=message):
            load_into(other, folder, EAGLE)
        assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())

    def test_a_folder_whose_config_names_another_order_is_refused(self, tmp_path):
        model = build_model(make_eagle_architecture())
        folder = save_model(model, model.processor, tmp_path / "model")
        config = json.loads((folder / "config.json").read_text())
        config["encoders"].reverse()
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(CheckpointError, match=r"lacks `encoders\.0\..*Nothing was left random"):
            load_model(folder)


def test_what_nothing_reads_never_learns_wherever_a_model_comes_from(tmp_path):
    model = make_x5()
    save_model(model, model.processor, tmp_path)
    loaded = load_model(tmp_path, dtype="float32")[0]
    kept = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert kept and all(".head." in name for name in kept)
    assert {name for name, parameter in loaded.named_parameters() if not parameter.requires_grad} == kept
    loaded = load_model(tmp_path, adapters=[{"type": "lora", "whole": ["encoder"]}], dtype="float32")[0]
    assert not any(loaded.get_parameter(name).requires_grad for name in kept)


def test_a_folder_restores_every_encoder(x5, tmp_path):
    folder = save_model(x5, x5.processor, tmp_path / "model")
    again, processor = load_model(folder)
    batch = make_batch(x5, [2, 0])
    with torch.no_grad():
        assert torch.equal(again(**batch.inputs).logits, x5(**batch.inputs).logits)
    assert processor.num_image_tokens == again.num_image_tokens == x5.num_image_tokens


@pytest.mark.parametrize(
    "encoders",
    [
        [TINY_ENCODERS[0]],
        [TINY_ENCODERS[1], TINY_ENCODERS[0]],
        [*TINY_ENCODERS, {"type": "timm", "model_name": "resnet18", "image_size": 64}],
        [
            {
                "type": "siglip",
                "image_size": 28,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_layers": 2,
                "num_heads": 2,
            }
        ],
    ],
    ids=["one", "turned", "with-timm", "siglip-alone"],
)
@pytest.mark.parametrize("fusion", ["channel_concat", "sequence_append"])
def test_any_encoders_in_any_order_make_a_model(encoders, fusion):
    architecture = make_eagle_architecture(encoders=encoders, fusion={"type": fusion}, image_size=64)
    model = build_model(architecture)
    batch = make_batch(model, [1, 2])
    assert model(**batch.inputs).loss.isfinite()
    assert model.image_features(batch.inputs["pixel_values"]).shape[1] == model.num_image_tokens


def test_the_order_of_the_encoders_is_the_order_of_the_channels():
    fusion = FUSIONS.build({"type": "channel_concat"}, channels=[2, 3], grid_sizes=[(2, 2), (2, 2)])
    first, second = torch.randn(1, 2, 2, 2), torch.randn(1, 3, 2, 2)
    tokens = fusion([first, second])
    assert torch.equal(tokens[0, 1], torch.cat([first[0, :, 0, 1], second[0, :, 0, 1]]))  # row by row
    appended = FUSIONS.build({"type": "sequence_append"}, channels=[3, 3], grid_sizes=[(2, 2), (2, 2)])
    maps = [torch.randn(1, 3, 2, 2) for _ in range(2)]
    assert torch.equal(appended(maps), torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1))


class TestBadInput:
    def test_an_unknown_encoder(self):
        with pytest.raises(RegistryError, match="no encoder named `convnxt`. Did you mean `convnext`?"):
            build_model(make_eagle_architecture(encoders=[{"type": "convnxt"}]))

    def test_no_encoder(self):
        with pytest.raises(ConfigError, match="must name at least one encoder"):
            build_model(make_eagle_architecture(encoders=[]))

    def test_grids_that_cannot_meet(self):
        wide = {"type": "timm", "model_name": "resnet18", "image_size": [32, 96]}
        with pytest.raises(ConfigError, match="Encoder 2 has a grid of 1 x 3 positions, which cannot meet the common"):
            build_model(make_eagle_architecture(encoders=[*TINY_ENCODERS, wide]))
        with pytest.raises(ConfigError, match="Encoder 0 has a grid of 2 x 2 positions.*grid of 2 x 4"):
            build_model(make_eagle_architecture(fusion={"type": "channel_concat", "grid_size": [2, 4]}))
        with pytest.raises(ConfigError, match="`fold` must divide the grid of 2 x 2, but is 3"):
            build_model(make_eagle_architecture(fusion={"type": "channel_concat", "fold": 3}))

    def test_images_of_another_size(self, x5):
        with pytest.raises(ShapeError, match=r"must be \(images, 3, 64, 64\), but is \(1, 3, 28, 28\)"):
            x5.image_features(torch.zeros(1, 3, 28, 28))

    def test_maps_of_other_encoders(self, x5):
        maps = x5.feature_maps(torch.zeros(1, 3, 64, 64))
        with pytest.raises(ShapeError, match="one for each encoder in its order"):
            x5.project(maps[::-1])

    @pytest.mark.parametrize("size", [(1, 5000), (5000, 1)])
    def test_an_image_of_one_pixel_by_five_thousand(self, size, x5):
        encoded = x5.processor.encode_images([make_picture(0, size=size)])
        assert encoded["pixel_values"].shape == (1, 3, 64, 64)
        with torch.no_grad():
            assert x5.image_features(encoded["pixel_values"]).isfinite().all()
        cropping = {**X5["processor"], "image": {**X5["processor"]["image"], "aspect": "crop", "size": 1024}}
        processor = build_model({**X5, "processor": cropping}, device="meta").processor
        with pytest.raises(DataError, match="would be scaled to"):
            processor.encode_images([make_picture(0, size=size)])

"""What a step or an answer really allocates on the CPU, counted by torch's own profiler; and models worth measuring."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from tests.vlmzoo.zoo.conftest import build_native
from vlmzoo import build_model
from vlmzoo.blocks.language.causal_lm import target_logprobs
from vlmzoo.zoo import load_card, read_architecture
from vlmzoo.zoo.arithmetic import visual_of
from vlmzoo.zoo.visual import ImageSize, resize_to_budget

PLACEHOLDER = 5
_SEEING: dict[str, dict[str, Any]] = {
    "clip_hr": {"image_size": 224, "native_size": 224, "hidden_size": 256, "intermediate_size": 1024, "num_layers": 4},
    "convnext": {"image_size": 224, "depths": [2, 2, 4, 2], "dims": [64, 128, 256, 384]},
    "sam_vit": {"image_size": 224, "patch_size": 16, "hidden_size": 256, "intermediate_size": 1024, "num_layers": 4}
    | {"window_size": 5, "global_layers": [1, 3], "num_heads": 4, "neck_channels": 64},
    "eva02_det": {"image_size": 224, "native_size": 224, "patch_size": 16, "hidden_size": 256, "num_layers": 4}
    | {"window_size": 7, "global_layers": [1, 3], "num_heads": 4},
    "pix2struct": {"image_size": 224, "patch_size": 16, "max_patches": 200, "hidden_size": 256}
    | {"intermediate_size": 512, "num_layers": 3, "num_heads": 4, "max_side": 64},
}


def peak_bytes(run: Callable[[], Any]) -> int:
    """Return the most that was allocated at any moment of ``run``, beyond what stood before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = profiler.profiler.kineto_results.events()
    now = most = 0
    for _, change in sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"):
        now += change
        most = max(most, now)
    return most


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Return what distinct tensors take."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def peak_of_step(model: nn.Module, loss: Callable[[], Tensor]) -> tuple[int, int]:
    """Return what stands before a step of AdamW (weights and states), and the most that comes on top of it."""
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=1e-5)
    for parameter in learnt:  # the states are born with the first step
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    states = [value for state in optimizer.state.values() for value in state.values()]

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return bytes_of(model.parameters()) + bytes_of(states), peak_bytes(step)


def make_architecture(name: str) -> dict[str, Any]:
    """Return a model of some 60 million parameters with the topology of a card."""
    architecture = load_card(name).miniature()
    text = {
        "vocab_size": 16384,
        "hidden_size": 512,
        "intermediate_size": 1408,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
    }
    if architecture["family"] == "eagle":
        architecture["language_model"] |= text
        architecture["encoders"] = [spec | _SEEING[spec["type"]] for spec in architecture["encoders"]]
        architecture["processor"]["image"]["size"] = 224
        return architecture | {"image_token_id": PLACEHOLDER, "image_size": 224, "fusion": {"type": "channel_concat"}}
    if architecture["family"] != "native":
        architecture["language_model"] |= text
        sizes = {"image_size": 224, "hidden_size": 384, "intermediate_size": 1536, "num_layers": 6, "num_heads": 6}
        architecture["encoder"] |= sizes
        return architecture | {"image_token_id": PLACEHOLDER}
    config, model_type = architecture["config"], architecture["model_type"]
    config["text_config"] |= text | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if "head_dim" in config["text_config"]:
        config["text_config"]["head_dim"] = 64
    if model_type.startswith("qwen"):
        config["text_config"]["num_key_value_heads"] = 2
        config["text_config"]["rope_parameters"]["mrope_section"] = [8, 12, 12]
        config["vision_config"] |= {"depth": 6, "num_heads": 6} | {
            "qwen2_vl": {"embed_dim": 384, "hidden_size": 512},
            "qwen2_5_vl": {"hidden_size": 384, "intermediate_size": 1024, "out_hidden_size": 512},
            "qwen3_vl": {"hidden_size": 384, "intermediate_size": 1536, "out_hidden_size": 512},
        }[model_type]
        architecture["processor"]["pixels"]["max"] = 2**22
        return architecture | {"config": config | {"image_token_id": PLACEHOLDER}}
    sizes = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 6}
    is_tiled = model_type == "internvl"
    config["vision_config"] |= sizes | {"image_size": [224, 224] if is_tiled else 224}
    if is_tiled:
        architecture["processor"]["tiling"]["size"] = 224
    return architecture | {"config": config | {"image_token_id" if is_tiled else "image_token_index": PLACEHOLDER}}


def make_inputs(architecture: dict[str, Any], *, text_tokens: int, image_size: ImageSize) -> dict[str, Tensor]:
    """Return one sequence with one image, and its labels."""
    checked = read_architecture(architecture)
    visual = visual_of(checked, image_size)
    input_ids = torch.randint(10, 8000, (1, text_tokens + visual.tokens))
    input_ids[:, 2 : 2 + visual.tokens] = PLACEHOLDER
    is_image = input_ids == PLACEHOLDER
    inputs = {
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
        "labels": input_ids.masked_fill(is_image, -100),
    }
    if "pixels" not in architecture["processor"]:
        return inputs | {"pixel_values": torch.randn(visual.values // (3 * 224 * 224), 3, 224, 224)}
    vision, budget = architecture["config"]["vision_config"], architecture["processor"]["pixels"]
    patch = vision["patch_size"]
    height, width = resize_to_budget(image_size, factor=2 * patch, min_pixels=budget["min"], max_pixels=budget["max"])
    return inputs | {
        "pixel_values": torch.randn(visual.positions, visual.values // visual.positions),
        "image_grid_thw": torch.tensor([[1, height // patch, width // patch]]),
        "mm_token_type_ids": is_image.int(),
    }


class NativeWithOurHead(nn.Module):
    """transformers' own class with the library's head, which never holds all logits."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.vlm = build_native(architecture)

    def gradient_checkpointing_enable(self, options: dict[str, Any]) -> None:
        """Compute blocks again in the backward pass."""
        self.vlm.gradient_checkpointing_enable(options)

    def forward(self, labels: Tensor, max_chunk_elements: int = 2**24, **inputs: Tensor) -> Tensor:
        """Return the sum of all targets' negative log-probabilities."""
        hidden = self.vlm.model(**inputs, use_cache=False).last_hidden_state
        return -target_logprobs(self.vlm, hidden, labels, max_chunk_elements=max_chunk_elements).sum()


class Composed(nn.Module):
    """A composed base whose forward is its loss."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.vlm = build_model(architecture, dtype="float32")

    def gradient_checkpointing_enable(self, options: dict[str, Any]) -> None:
        """Compute blocks again in the backward pass."""
        self.vlm.gradient_checkpointing_enable(options)

    def forward(self, **inputs: Tensor) -> Tensor:
        """Return the loss."""
        return self.vlm(**inputs, return_logits=False, use_cache=False).loss


def make_model(architecture: dict[str, Any]) -> NativeWithOurHead | Composed:
    """Build either kind, with random weights."""
    torch.manual_seed(0)
    return (NativeWithOurHead if architecture["family"] == "native" else Composed)(architecture).train()

"""The demo: an agent behind a page."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from vlmzoo.agents.fast_slow import FastSlow, FastSlowOptions
from vlmzoo.agents.picture_strip import picture_strip
from vlmzoo.agents.trace_page import marked_image
from vlmzoo.data.hidden_glyphs import RoomRules, draw_room
from vlmzoo.data.sources.hidden_glyphs import question_of, room_options
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.hub import build_model, load_model
from vlmzoo.integrations.gradio import DemoAnswer, Respond, build_page
from vlmzoo.models.further import further_model

__all__ = ["demo_page", "example_question", "responder", "tiny_model"]

_RANDOM = (
    "This model is a random miniature with every adapter: it has learned nothing, so its words and boxes mean nothing, "
    "but each step is the one that a trained model takes. Choose `slow` to see a search."
)
_TRAINED = "The model answers at a glance, or says what it could not see and looks for it."


def demo_page(
    model: str | None = None, *, search: str | None = None, segmenter: str | None = None, max_new_tokens: int = 64
) -> Any:
    """Build the page of an agent.

    Args:
        model: folder or Hub id of what answers; None takes a random miniature.
        search: folder or Hub id of what searches; None lets the model search, if it can.
        segmenter: folder or Hub id of what makes masks; None lets the model, if it can.
        max_new_tokens: limit of an answer.

    Raises:
        CheckpointError: if a model cannot be loaded whole.
        MissingExtraError: if gradio is not installed.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    answering = tiny_model() if model is None else load_model(model, device=device)[0]
    further = {
        "proposer": None if search is None else {"type": "vstar", "model": further_model(search, beside=answering)},
        "segmenter": None if segmenter is None else further_model(segmenter, beside=answering),
    }
    limit = 12 if model is None else max_new_tokens
    if model is None and search is None:
        further["proposer"] = {"type": "vstar", "smallest_size": 64, "max_new_tokens": limit}
    return build_page(
        responder(answering, max_new_tokens=limit, **further),
        title="Thinking fast and slow",
        remark=_RANDOM if model is None else _TRAINED,
        example=example_question(),
    )


def responder(model: Any, *, max_new_tokens: int, **further: Any) -> Respond:
    """Return what answers the page's questions with an agent.

    Args:
        model: that answers.
        max_new_tokens: limit of an answer.
        further: ``proposer`` and ``segmenter`` of ``FastSlow``.
    """

    def respond(image: Image.Image, question: str, options: Sequence[str], decide: Any) -> DemoAnswer:
        agent = FastSlow(model, options=FastSlowOptions(decide=decide, max_new_tokens=max_new_tokens), **further)
        answer = agent.answer(image, question, options=options)
        cost, searches = answer.trace.cost, answer.trace.searches
        doubt = ", in doubt" if answer.is_low_confidence else ""
        told = f"{answer.mode}{doubt}: {answer.trace.stopped_by}; {cost.lm_tokens:.0f} positions, {cost.seconds:.1f} s"
        return DemoAnswer(
            text=answer.text,
            mode=told,
            marked=marked_image(image, answer.evidence),
            strip=picture_strip(image, searches[0]) if searches else None,
            page=answer.trace.to_html(image),
        )

    return respond


def example_question() -> tuple[Image.Image, str, Sequence[str]]:
    """Return a drawn room with a tiny glyph, the question for its colour, and four options."""
    room = draw_room(RoomRules(), "tiny", seed=7, index=3)
    return room.picture(), question_of(room), room_options(room, Draws("demo", 0))


def tiny_model() -> Any:
    """Build a random miniature with the adapters switch, search and seg."""
    torch.manual_seed(0)
    encoder = {"type": "clip", "image_size": 56, "patch_size": 14, "hidden_size": 32, "intermediate_size": 64}
    text = {"type": "causal_lm", "model_type": "llama", "hidden_size": 32, "intermediate_size": 64}
    architecture = {
        "family": "llava",
        "encoder": {**encoder, "num_layers": 2, "num_heads": 2, "select_layer": -2},
        "projector": {"type": "mlp2x_gelu"},
        "language_model": {**text, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2},
        "processor": {
            "image": {"aspect": "pad", "size": 56},
            "tokenizer": {"type": "byte_bpe", "corpus": [{"source": _WORDS}], "vocab_size": 512, "num_samples": 100},
            "chat_template": "vicuna_v1",
        },
    }
    adapters = [
        {"type": "switch", "depth": 1, "head_dim": 8, "num_heads": 2, "num_latents": 4},
        {"type": "search", "detector": _DETECTOR},
        {"type": "seg", "decoder": _DECODER},
    ]
    return build_model(architecture, adapters=adapters).eval()


_WORDS = {"type": "hidden_glyphs", "roles": {"fast": 1.0, "locate": 1.0, "cue": 1.0}}
_DETECTOR = {
    "image_size": 64,
    "patch_size": 16,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_layers": 2,
    "num_heads": 2,
    "query_dim": 16,
    "prompt_dim": 16,
    "decoder_mlp_dim": 32,
    "decoder_heads": 2,
    "quality_dim": 16,
}
_DECODER = {
    "type": "sam",
    "image_size": 64,
    "dim": 16,
    "depth": 2,
    "num_heads": 2,
    "global_blocks": [1],
    "window_size": 3,
    "prompt_dim": 16,
    "decoder_mlp_dim": 32,
    "decoder_heads": 2,
    "quality_dim": 16,
}

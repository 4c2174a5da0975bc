"""The demo: an agent behind a page."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from vlmzoo.agents.fast_slow import FastSlow, FastSlowOptions
from vlmzoo.agents.picture_strip import picture_strip
from vlmzoo.agents.trace_page import marked_image
from vlmzoo.data.collation import Collator
from vlmzoo.data.focus import FocusObject, focus_sample
from vlmzoo.data.hidden_glyphs import BELONGS, RoomRules, draw_room
from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.refusals import refusal_of
from vlmzoo.data.sources.hidden_glyphs import question_of, room_options
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.geometry import Box, Frame, Mask
from vlmzoo.hub import build_model, load_model
from vlmzoo.integrations.gradio import DemoAnswer, Respond, build_page
from vlmzoo.models.further import further_model
from vlmzoo.models.segmenting import question_of as segment_question
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.types import Sample, assistant, user

__all__ = ["demo_page", "example_question", "responder", "tiny_model"]

_RANDOM = (
    "This model is a miniature with every adapter that has learned what to say, and not to see: its boxes, masks and "
    "answers mean nothing, but each step is the one that a trained model takes."
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
    limit = 32 if model is None else max_new_tokens
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


def tiny_model(*, num_steps: int = 60) -> Any:
    """Build a miniature with the adapters switch, search and seg, and teach it what to say, in seconds.

    Args:
        num_steps: of learning by heart; 0 leaves it random.
    """
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
    model = build_model(architecture, adapters=adapters)
    _teach(model, num_steps=num_steps)
    return model.eval()


def _teach(model: Any, *, num_steps: int) -> None:
    """Teach what is said at each step; boxes and masks are not part of it."""
    processor = model.processor
    collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
    batch = collate([processor.encode(lesson) for lesson in _lessons()])
    objective = OBJECTIVES.build({"type": "next_token"})
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.train()
    for _ in range(num_steps):
        loss = objective(model(**batch.inputs, return_logits=False), batch, batch.count()).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def _lessons() -> list[Sample]:
    """Return refusals, answers with evidence, and what is said while searching and segmenting."""
    picture = example_question()[0].resize((64, 64))
    frame = Frame.original("lesson", width=64, height=64)
    nothing = Mask(np.zeros((64, 64), dtype=bool), frame=frame)
    search = load_prompts("seal")["search"]

    def lesson(question: str, said: str, **truth: Any) -> Sample:
        return Sample(messages=[user(question, num_images=1), assistant(said)], images=[picture], id=question, **truth)

    lessons = []
    for shape, home in BELONGS.items():
        asked = f"What colour is the {shape}?"
        found = FocusObject(shape, Box.from_xywh((20, 20, 16, 16), frame=frame))
        shown = focus_sample(picture, asked, [found])
        cue = f"The {shape} is {search['cue_marker']} on the {home}."
        lessons += [
            lesson(asked, refusal_of([shape])),
            Sample(messages=[*shown.messages, assistant("blue")], images=shown.images, id=f"{shape} shown"),
            lesson(search["locate"].replace("{name}", shape), search["located"], boxes=[None]),
            lesson(search["locate"].replace("{name}", home), search["located"], boxes=[None]),
            lesson(search["cue"].replace("{name}", shape), cue),
            lesson(segment_question(shape), "It is [SEG].", masks=[nothing]),
        ]
    return lessons


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

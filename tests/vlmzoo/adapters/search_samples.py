"""Questions about small pictures, with boxes and masks, and a tiny search adapter."""

import numpy as np

from tests.vlmzoo.adapters.bases import make_picture
from vlmzoo.adapters import ADAPTERS
from vlmzoo.data.collation import Collator
from vlmzoo.geometry import Box, Frame, Mask
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.types import Sample, assistant, user

NAMES = ("cup", "lamp", "star", "ring", "key", "book", "ball", "shoe")
SIDE = 28


def search_spec(**options):
    """The tiny adapter."""
    return {"type": "search", **ADAPTERS.entry("search").tiny, "train_box_head": True, **options}


def make_box(number):
    """A box whose place depends on ``number``."""
    frame = Frame.original(str(number), width=SIDE, height=SIDE)
    return Box.from_xywh((2 + 2 * number, 18 - 2 * number, 6 + number % 3, 7), frame=frame)


def make_sample(number, *, has_mask=True, num_boxes=1):
    """Ask where something is; the answer says ``[LOC]``."""
    box = make_box(number)
    array = np.zeros((SIDE, SIDE), dtype=bool)
    array[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
    return Sample(
        messages=[
            user(f"Please locate the {NAMES[number]} in this image.", num_images=1),
            assistant("Sure, [LOC]."),
        ],
        images=[make_picture(number)],
        id=str(number),
        boxes=[[box, make_box((number + 3) % 8)][:num_boxes]] if num_boxes else [None],
        heat_masks=[Mask(array, frame=box.frame)] if has_mask else [],
    )


def make_talk(number):
    """A conversation without ``[LOC]``."""
    return Sample(
        messages=[user("What is this?", num_images=1), assistant("No idea.")], images=[make_picture(number)], id="talk"
    )


def make_batch(model, samples):
    processor = model.processor
    collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
    return collate([processor.encode(sample) for sample in samples])


def make_objective(model, **weights):
    terms = {"text": {"type": "next_token"}, **model.adapters["search"].loss_terms}
    terms = {name: {**term, "weight": weights.get(name, term.get("weight", 1.0))} for name, term in terms.items()}
    return OBJECTIVES.build({"type": "weighted_sum", "terms": terms})


def learn_by_heart(model, samples, *, num_steps, rate=5e-3):
    """Train on one batch until boxes and words are known."""
    import torch

    model.train()
    batch, objective = make_batch(model, samples), make_objective(model, boxes=1.0)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    for step in range(num_steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (num_steps - step) / (num_steps / 2))
        loss = objective(model(**batch.inputs, return_logits=False), batch, batch.count())
        optimiser.zero_grad()
        loss.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return model.eval()

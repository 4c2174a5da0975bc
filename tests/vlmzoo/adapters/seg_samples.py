"""Questions about small pictures, with masks, and a tiny seg adapter."""

import numpy as np

from tests.vlmzoo.adapters.bases import make_picture
from vlmzoo.adapters import ADAPTERS
from vlmzoo.data.collation import Collator
from vlmzoo.geometry import Frame, Mask
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.types import Sample, assistant, user

WORDS = ("red", "blue", "green", "gold", "grey", "pink", "cyan", "white")
SIDE = 28


def seg_spec(**options):
    """The tiny adapter."""
    return {"type": "seg", **ADAPTERS.entry("seg").tiny, **options}


def make_mask(number, *, name="picture"):
    """A box whose place depends on ``number``."""
    array = np.zeros((SIDE, SIDE), dtype=bool)
    array[2 * number : 10 + 2 * number, 4 : 9 + number] = True
    return Mask(array, frame=Frame.original(name, width=SIDE, height=SIDE))


def make_sample(number, *, num_masks=1):
    """Ask where something is; the answer says ``[SEG]`` so often."""
    said = f"It is {WORDS[number]}" + " [SEG]" * num_masks + "."
    return Sample(
        messages=[user(f"Where is {number}?", num_images=1), assistant(said)],
        images=[make_picture(number)],
        id=str(number),
        masks=[make_mask((number + extra) % 8, name=str(number)) for extra in range(num_masks)],
    )


def make_batch(model, samples):
    processor = model.processor
    collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
    return collate([processor.encode(sample) for sample in samples])


def make_objective(model):
    terms = {"text": {"type": "next_token"}, **model.adapters["seg"].loss_terms}
    return OBJECTIVES.build({"type": "weighted_sum", "terms": terms})

"""Under which names OWL-ViT is published, of which the search adapter's detector takes all but the text half."""

from vlmzoo.models.keys import KeyTable

__all__ = ["OWLVIT"]

_TEXT = "OWL-ViT's text half; queries come from the language model"

OWLVIT = KeyTable(
    layout="owlvit",
    source="google/owlvit-base-patch16; transformers, OwlViTForObjectDetection",
    renames={
        "owlvit.vision_model.{rest:path}": "vision_model.{rest:path}",
        "class_head.{rest:path}": "class_head.{rest:path}",
        "box_head.{rest:path}": "box_head.{rest:path}",
        "layer_norm.{rest:path}": "layer_norm.{rest:path}",
    },
    drops={
        "owlvit.text_model.{rest:path}": _TEXT,
        "owlvit.text_projection.weight": _TEXT,
        "owlvit.visual_projection.weight": "leads into the space shared with text",
        "owlvit.logit_scale": "scales CLIP's own logits",
        "owlvit.vision_model.embeddings.position_ids": "OWL-ViT's position ids, which only count",
        "box_bias": "computed from the grid",
    },
)

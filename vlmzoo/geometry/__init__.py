"""Geometry that carries its frame: boxes, points, masks and heat maps, and the way from one frame to another.

    original = Frame.original("cat.jpg", width=640, height=480)
    seen = original.padded_to_square(align="center").resized(width=336, height=336)
    box = Box.from_xyxy((100, 200, 300, 400), frame=seen.norm1000)
    box.to(original)

Values of two frames are never mixed by accident: that is a ``FrameError``.
"""

from vlmzoo.geometry.boxes import Box, Point
from vlmzoo.geometry.frames import Frame
from vlmzoo.geometry.masks import HeatMap, Mask
from vlmzoo.geometry.overlap import giou, iou, iou_matrix, mask_iou
from vlmzoo.geometry.polygons import mask_to_polygons, polygons_to_mask
from vlmzoo.geometry.rle import decode_rle, encode_rle
from vlmzoo.geometry.transforms import Transform

__all__ = [
    "Box",
    "Frame",
    "HeatMap",
    "Mask",
    "Point",
    "Transform",
    "decode_rle",
    "encode_rle",
    "giou",
    "iou",
    "iou_matrix",
    "mask_iou",
    "mask_to_polygons",
    "polygons_to_mask",
]

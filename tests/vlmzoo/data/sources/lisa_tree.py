"""A folder laid out as LISA's ``dataset``, drawn by hand: two rows of each set, no larger than 20 pixels."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["IMAGE_SIZE", "draw_lisa_tree"]

IMAGE_SIZE = (10, 8)  # width, height
_POLYGON = [2, 1, 6, 1, 6, 4, 2, 4]
_OVERLAPPING = [4, 2, 8, 2, 8, 6, 4, 6]
_RUNS = {"size": [8, 10], "counts": [26, 3, 5, 3, 5, 3, 5, 3, 27]}
_COMPRESSED = {"size": [8, 10], "counts": "j03500000f0"}


def draw_lisa_tree(root: Path, *, protocol: int = 0) -> Path:
    """Draw all sets.

    Args:
        root: the folder.
        protocol: of the pickles of references.
    """
    _draw_ade20k(root)
    _draw_cocostuff(root)
    _draw_mapillary(root)
    _draw_parts(root)
    _draw_refer(root, protocol)
    _draw_reason_seg(root)
    _draw_llava(root)
    return root


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def draw_picture(path: Path, size: tuple[int, int] = IMAGE_SIZE, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").resize(size).convert(mode).save(path)


def draw_labels(path: Path, rows: Any, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.array(rows, dtype=np.uint8))
    if palette:
        picture.putpalette([255 - value for value in range(256) for _ in range(3)])
    picture.save(path)


def _draw_ade20k(root: Path) -> None:
    folder = root / "ade20k"
    for number, (row, mode) in enumerate((([0, 1, 1, 2, 2, 0], "RGB"), ([0] * 6, "L")), start=1):
        stem = f"ADE_train_0000000{number}"
        draw_picture(folder / "images" / "training" / f"{stem}.jpg", (6, 4), mode)
        draw_labels(folder / "annotations" / "training" / f"{stem}.png", [row] * 4)


def _draw_cocostuff(root: Path) -> None:
    for number in (9, 25):
        draw_picture(root / "coco" / "train2017" / f"{number:012d}.jpg", (6, 4))
        draw_labels(root / "cocostuff" / "train2017" / f"{number:012d}.png", [[0, 0, 95, 95, 255, 3]] * 4)


def _draw_mapillary(root: Path) -> None:
    names = [("animal--bird", "Bird", True), ("construction--road", "Road Side", True), ("void--x", "Unlabeled", False)]
    labels = [{"name": n, "readable": r, "color": [0, 0, 0], "instances": e, "evaluate": e} for n, r, e in names]
    write_json(root / "mapillary" / "config_v2.0.json", {"labels": labels})
    for stem in ("a" * 22, "b" * 22):
        draw_picture(root / "mapillary" / "training" / "images" / f"{stem}.jpg", (6, 4))
        labels_path = root / "mapillary" / "training" / "v2.0" / "labels" / f"{stem}.png"
        draw_labels(labels_path, [[0, 0, 1, 1, 2, 2]] * 4, palette=True)


def _coco(categories: list[str], images: list[str], segmentations: list[tuple[int, int, Any]]) -> dict[str, Any]:
    width, height = IMAGE_SIZE
    return {
        "images": [{"id": n, "file_name": f, "width": width, "height": height} for n, f in enumerate(images, start=1)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(categories, start=1)],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "segmentation": segmentation, "bbox": [2, 1, 3, 2]}
            for n, (image, category, segmentation) in enumerate(segmentations)
        ],
    }


def _draw_parts(root: Path) -> None:
    voc = ["2008_000002.jpg", "2008_000003.jpg"]
    for name in voc:
        draw_picture(root / "vlpart" / "pascal_part" / "VOCdevkit" / "VOC2010" / "JPEGImages" / name)
    parts = [(1, 1, [_POLYGON, _OVERLAPPING]), (1, 2, _COMPRESSED), (2, 1, [])]
    content = _coco(["dog:head", "potted plant:pot"], voc, parts)
    write_json(root / "vlpart" / "pascal_part" / "train.json", content)
    coco = ["train2017/000000000139.jpg", "train2017/000000000285.jpg"]
    for name in coco:
        draw_picture(root / "coco" / name)
    names = ["dog:head", "trash_can", "mouse_(computer_equipment):scroll_wheel"]
    things = [(1, 1, [_POLYGON]), (1, 2, _RUNS), (1, 2, [_OVERLAPPING]), (2, 3, [_POLYGON]), (2, 3, [])]
    write_json(root / "vlpart" / "paco" / "annotations" / "paco_lvis_v1_train.json", _coco(names, coco, things))


def _ref(number: int, image: int, ann: Any, split: str, *sentences: str) -> dict[str, Any]:
    told = [{"sent_id": n, "sent": s, "raw": s, "tokens": s.split()} for n, s in enumerate(sentences)]
    place = {"ref_id": number, "ann_id": ann, "image_id": image, "category_id": 1, "split": split}
    return {**place, "sent_ids": [0], "file_name": f"COCO_{ann}.jpg", "sentences": told}


def _draw_refer(root: Path, protocol: int) -> None:
    folder = root / "refer_seg"
    files = ["COCO_train2014_000000000001.jpg", "COCO_train2014_000000000002.jpg"]
    for name in files:
        draw_picture(folder / "images" / "mscoco" / "images" / "train2014" / name)
    refs = [
        _ref(0, 1, 7, "train", "Left Box ", "box"),
        _ref(1, 2, 8, "testA", "the man"),
        _ref(2, 1, 9, "train", "nothing"),
    ]
    content = _coco(["thing"], files, [(1, 1, [_POLYGON, _OVERLAPPING]), (2, 1, _RUNS), (1, 1, [])])
    for number, annotation in enumerate(content["annotations"], start=7):
        annotation["id"] = number
    for name, split_by in (("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")):
        write_json(folder / name / "instances.json", content)
        (folder / name / f"refs({split_by}).p").write_bytes(pickle.dumps(refs, protocol))
    draw_picture(folder / "images" / "saiapr_tc-12" / "01" / "images" / "1.jpg")
    clef = _coco(["thing"], ["01/images/1.jpg"], [(1, 1, [_COMPRESSED])])
    clef["annotations"][0]["id"] = "1_2"
    write_json(folder / "refclef" / "instances.json", clef)
    both = [_ref(0, 1, "1_2", "testAB", "sky"), _ref(1, 1, "1_2", "train", "the sky")]
    (folder / "refclef" / "refs(unc).p").write_bytes(pickle.dumps(both, protocol))


def _draw_reason_seg(root: Path) -> None:
    folder = root / "reason_seg" / "ReasonSeg"
    shapes = [
        {"label": "flag", "points": [[0, 0], [3, 0], [3, 3]]},
        {"label": "ignore", "points": [[4, 4], [7, 4], [7, 6], [4, 6]]},
        {"label": "target", "points": [[2, 2], [12.9, 2], [12.9, 9.9], [2, 9.9]]},
    ]
    rows = {
        "a b": {"text": ["Where\u2019s the food?", "What can be eaten?"], "is_sentence": True, "shapes": shapes},
        "c": {
            "text": ["A thing"],
            "is_sentence": False,
            "shapes": [{"label": "Ignore_1", "points": [[0, 0], [4, 0], [4, 4]]}],
        },
    }
    for stem, content in rows.items():
        draw_picture(folder / "train" / f"{stem}.jpg", (20, 16))
        (folder / "train" / f"{stem}.json").write_bytes(json.dumps(content, ensure_ascii=False).encode("cp1252"))
    explained = [{"image": "a b.jpg", "query": "unused", "outputs": "Because one can eat it."}]
    write_json(folder / "explanatory" / "train.json", explained)


def _draw_llava(root: Path) -> None:
    rows = [
        {
            "id": "1",
            "image": "000000000009.jpg",
            "conversations": [
                {"from": "human", "value": "What is it?\n<image>"},
                {"from": "gpt", "value": "A grey picture."},
            ],
        },
        {
            "id": "2",
            "image": "000000000025.jpg",
            "conversations": [{"from": "human", "value": "<image>\nAnd this?"}, {"from": "gpt", "value": "Another."}],
        },
    ]
    write_json(root / "llava_dataset" / "llava_instruct_150k.json", rows)

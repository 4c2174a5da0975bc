"""TWIN's training rows: what the released preparation makes of a row of the download, and our source of the same."""

from pathlib import PurePosixPath

from vlmzoo.data.sources.twin_pairs import twin_prompt
from vlmzoo.data.twin_records import twin_record

GOLDEN = ("twin", "train_record*.jsonl")


def test_a_row_is_the_authors(golden):
    case = golden.content
    sizes = {name: tuple(size) for name, size in case["image_wh"].items()}
    assert twin_record(case["example"], sizes, index=case["index"]) == case["record"]


def test_our_prompt_has_the_same_pieces(golden):
    """The authors' loader cuts the text at the image marks and drops empty pieces."""
    case = golden.content
    pieces = case["record"]["prompt"][0]["content"].split("<image>")
    expected = [block for piece in pieces for block in ([piece] if piece else []) + ["[image]"]][:-1]
    found = [block.get("text", "[image]") for block in twin_prompt(case["example"]["question"])["content"]]
    assert found == expected
    assert PurePosixPath(case["example"]["image_1"]).name == case["record"]["extra_info"]["image_files"][0]

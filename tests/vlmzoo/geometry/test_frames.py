import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlmzoo.geometry.conftest import boxes, derived, frames, make_frame, originals, padded, pixel_boxes, sides
from vlmzoo.errors import DataError, FrameError
from vlmzoo.geometry import Box, Frame, Point


@pytest.mark.parametrize(
    ("width", "height", "resized"),
    [
        (640, 480, (1024, 768)),
        (480, 640, (768, 1024)),
        (1024, 1024, (1024, 1024)),
        (333, 77, (1024, 237)),
        (2000, 1333, (1024, 682)),
        (1, 5, (205, 1024)),
    ],
)
def test_the_longest_side_is_resized_as_sam_does(width, height, resized):
    # sizes from facebookresearch/segment-anything, ResizeLongestSide(1024)
    frame = make_frame(width, height).resized_to_longest_side(1024)
    assert (frame.width, frame.height) == resized


@pytest.mark.parametrize(
    ("size", "xywh", "normalised"),
    [
        ((200, 150), (10.3, 20.7, 33.2, 18.9), (0.0515, 0.2285, 0.2175, 0.323)),
        ((64, 64), (0, 0, 5, 5), (0.0, 0.0, 0.078125, 0.078125)),
        ((100, 50), (97, 40, 2.1, 7.7), (0.97, 0.65, 0.991, 0.727)),
        ((1024, 768), (500, 300, 224, 10), (0.48828125, 0.41796875, 0.70703125, 0.427734375)),
    ],
)
def test_a_box_in_the_padded_square_has_the_numbers_of_seal(size, xywh, normalised):
    # numbers from penghao-wu/vstar@4ede664, centre-padded square
    original = make_frame(*size)
    box = Box.from_xywh(xywh, frame=original).to(original.padded_to_square(align="center").unit)
    assert box.xyxy == pytest.approx(normalised, abs=1e-12)


@pytest.mark.parametrize(
    ("size", "unit", "crop"),
    [
        ((640, 480), (0.25, 0.3, 0.75, 0.9), (320, 384)),
        ((480, 640), (0.0, 0.0, 1.0, 1.0), (640, 640)),
        ((333, 77), (0.121, 0.5, 0.333, 0.777), (71, 93)),
    ],
)
def test_a_region_of_interest_is_cropped_out_of_the_square_as_in_chain_of_spot(size, unit, crop):
    # sizes from GuangyanS/Sys2-LLaVA@8a67a7c, which lets Pillow round the edges
    square = make_frame(*size).padded_to_square(align="center")
    frame = square.cropped(Box.from_xyxy(unit, frame=square.unit).to(square).rounded())
    assert (frame.width, frame.height) == crop


@pytest.mark.parametrize(
    ("box", "grid", "tiles"),
    [
        ((7, 9, 13, 11), (2, 2), [(7, 9, 6, 5), (13, 9, 7, 5), (7, 14, 6, 6), (13, 14, 7, 6)]),
        ((3, 0, 50, 20), (4, 1), [(3, 0, 12, 20), (15, 0, 12, 20), (27, 0, 12, 20), (39, 0, 14, 20)]),
        ((0, 5, 21, 47), (1, 4), [(0, 5, 21, 11), (0, 16, 21, 11), (0, 27, 21, 11), (0, 38, 21, 14)]),
    ],
)
def test_tiles_are_the_sub_patches_of_seal(box, grid, tiles):
    # boxes from penghao-wu/vstar@4ede664
    original = make_frame(64, 64)
    patch = original.cropped(Box.from_xywh(box, frame=original))
    found = [Box.whole(tile).to(original).xywh for tile in patch.tiles(columns=grid[0], rows=grid[1])]
    assert found == tiles


@given(st.data())
def test_each_step_moves_positions_as_its_formula_says(data):
    original = data.draw(originals())
    frame, x, y = original, 0.25 * original.width, 0.75 * original.height
    for _ in range(data.draw(st.integers(0, 6))):
        step = data.draw(st.sampled_from(["resized", "longest", "top_left", "center", "square", "cropped"]))
        width, height = frame.width, frame.height
        if step == "resized":
            frame = frame.resized(width=data.draw(sides), height=data.draw(sides))
            x, y = x * frame.width / width, y * frame.height / height
        elif step == "longest":
            frame = frame.resized_to_longest_side(100)
            x, y = x * frame.width / width, y * frame.height / height
        elif step == "top_left":
            frame = frame.padded(width=width + 3, height=height + 8, align="top_left")
        elif step == "center":
            frame = frame.padded(width=width + 3, height=height + 8, align="center")
            x, y = x + 1, y + 4
        elif step == "square":
            frame = frame.padded_to_square(align="center")
            x, y = x + (frame.width - width) // 2, y + (frame.height - height) // 2
        else:
            box = data.draw(pixel_boxes(frame))
            frame, x, y = frame.cropped(box), x - box.x0, y - box.y0
    start = Point(frame=original, x=0.25 * original.width, y=0.75 * original.height)
    for target, factors in [
        (frame, (1, 1)),
        (frame.unit, (1 / frame.width, 1 / frame.height)),
        (frame.norm999, (999 / frame.width, 999 / frame.height)),
        (frame.norm1000, (1000 / frame.width, 1000 / frame.height)),
    ]:
        point = start.to(target)
        assert (point.x, point.y) == pytest.approx((x * factors[0], y * factors[1]), rel=1e-9, abs=1e-9)


@given(st.data())
def test_a_crop_of_a_crop_is_a_crop(data):
    frame = data.draw(derived(data.draw(originals())))
    outer = data.draw(pixel_boxes(frame))
    inner = data.draw(pixel_boxes(frame.cropped(outer)))
    moved = (inner.x0 + outer.x0, inner.y0 + outer.y0, inner.x1 + outer.x0, inner.y1 + outer.y0)
    assert frame.cropped(outer).cropped(inner) == frame.cropped(Box.from_xyxy(moved, frame=frame))


@given(st.data())
def test_a_box_inside_a_crop_is_the_same_pixels_of_the_original(data):
    original = data.draw(originals())
    outer = data.draw(pixel_boxes(original))
    crop = original.cropped(outer)
    box = data.draw(pixel_boxes(crop))
    expected = (box.x0 + outer.x0, box.y0 + outer.y0, box.x1 + outer.x0, box.y1 + outer.y0)
    assert box.to(original).xyxy == expected
    assert box.to(original).to(crop) == box


@given(st.data(), st.integers(1, 30), st.integers(1, 30))
def test_tiles_cover_every_pixel_once(data, columns, rows):
    frame = data.draw(derived(data.draw(originals())))
    columns, rows = min(columns, frame.width), min(rows, frame.height)
    count = [[0] * frame.width for _ in range(frame.height)]
    for tile in frame.tiles(columns=columns, rows=rows):
        x0, y0, x1, y1 = (int(edge) for edge in Box.whole(tile).to(frame).xyxy)
        for row in range(y0, y1):
            for column in range(x0, x1):
                count[row][column] += 1
    assert all(times == 1 for row in count for times in row)


@given(derived(make_frame(12, 7)), sides, sides, sides, sides)
def test_the_last_of_two_resizes_decides(frame, width, height, other_width, other_height):
    twice = frame.resized(width=other_width, height=other_height).resized(width=width, height=height)
    assert twice == frame.resized(width=width, height=height)


@given(derived(make_frame(12, 7)), sides, sides)
def test_thousandths_do_not_depend_on_a_resize(frame, width, height):
    resized = frame.resized(width=width, height=height)
    assert (resized.norm1000, resized.unit) == (frame.norm1000, frame.unit)


@given(st.data())
def test_padding_is_undone_by_a_crop_of_what_was_padded(data):
    frame = data.draw(derived(data.draw(originals())))
    larger = data.draw(padded(frame))
    back = larger.cropped(Box.whole(frame).to(larger))
    assert (back.x, back.y) == (frame.x, frame.y)


@given(frames())
def test_a_frame_is_equal_to_itself_made_again_and_hashes_alike(frame):
    again = Frame(image=frame.image, kind=frame.kind, x=frame.x, y=frame.y)
    assert again == frame
    assert hash(again) == hash(frame)


def test_frames_of_two_images_or_two_crops_or_two_kinds_are_not_confused():
    original = make_frame(10, 10)
    box, other_box = (Box.from_xyxy(values, frame=original) for values in ((0, 0, 5, 5), (5, 0, 10, 5)))
    crop, other_crop = original.cropped(box), original.cropped(other_box)
    same_size = original.resized(width=10, height=10)
    found = [original, make_frame(10, 10, image="dog.jpg"), crop, other_crop, same_size, crop.norm1000, other_crop.unit]
    assert len(set(found)) == len(found)


def test_a_frame_names_itself_with_its_place_in_the_original():
    original = make_frame(640, 480)
    assert str(original) == "the original frame 640×480 of `cat.jpg`"
    square = original.padded_to_square(align="center").resized(width=336, height=336)
    assert str(square.norm1000) == (
        "the norm1000 frame 1000×1000 of `cat.jpg` (x 0 to 640, y -80 to 560 of 640×480 original pixels)"
    )


def test_a_way_between_two_images_is_refused_with_both_names():
    one, other = make_frame(4, 4), make_frame(4, 4, image="dog.jpg")
    with pytest.raises(FrameError, match="no way from .*`cat.jpg` to .*`dog.jpg`: these are two images; look where"):
        Box.whole(one).to(other)


def test_two_images_of_one_name_are_refused_with_both_sizes():
    with pytest.raises(FrameError, match="two images of 4×4 and 5×4 pixels share this name; give each its own"):
        Box.whole(make_frame(4, 4)).to(make_frame(5, 4).norm1000)


def test_a_crop_by_a_box_of_another_frame_is_refused_with_the_way_out():
    frame = make_frame(8, 8)
    box = Box.from_xyxy((1, 1, 5, 5), frame=frame.norm1000)
    with pytest.raises(
        FrameError, match=r"must stand in the original frame.*stands in the norm1000 frame.*convert it with `.to\(frame"
    ):
        frame.cropped(box)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ((0.5, 0, 2, 2), r"whole edges, but has \(0.5, 0.0, 2.0, 2.0\) instead; take `box.rounded"),
        ((-1, 0, 2, 2), r"stay inside the original frame 8×8.*cut it with `box.clipped"),
        ((0, 0, 9, 2), "stay inside"),
        ((3, 0, 3, 2), "must hold a pixel"),
    ],
)
def test_a_crop_that_cannot_be_cut_is_refused(edges, message):
    frame = make_frame(8, 8)
    with pytest.raises(DataError, match=message):
        frame.cropped(Box.from_xyxy(edges, frame=frame))


@pytest.mark.parametrize("step", ["resized", "padded"])
def test_only_pixels_can_be_resized_and_padded(step):
    arguments = {"width": 5, "height": 5} | ({"align": "center"} if step == "padded" else {})
    with pytest.raises(FrameError, match=f"Only pixels can be {step}, but this is the unit frame 1×1 .*start from"):
        getattr(make_frame().unit, step)(**arguments)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, "`width` must be at least 1, but is 0"),
        (-3, "`width` must be at least 1, but is -3"),
        (2.5, "`width` must be a whole number, but is 2.5"),
        (True, "`width` must be a whole number, but is True"),
    ],
)
def test_a_size_that_is_none_is_refused(size, message):
    with pytest.raises(DataError, match=message):
        Frame.original("cat.jpg", width=size, height=4)
    with pytest.raises(DataError, match=message):
        make_frame().resized(width=size, height=4)


def test_an_image_without_a_name_is_refused():
    with pytest.raises(DataError, match="`image` must name the image, but is empty"):
        Frame.original("", width=2, height=2)


def test_padding_that_would_shrink_is_refused():
    with pytest.raises(DataError, match="must not shrink the original frame 10×8 of `cat.jpg`, but 12×7 would"):
        make_frame(10, 8).padded(width=12, height=7, align="top_left")


def test_an_unknown_alignment_is_refused():
    with pytest.raises(DataError, match="`align` must be `center` or `top_left`, but is 'left'"):
        make_frame().padded_to_square(align="left")


def test_an_image_so_narrow_that_a_resize_would_lose_it_is_refused():
    with pytest.raises(DataError, match="at least one pixel, but 1024 makes 1024×0"):
        make_frame(5000, 1).resized_to_longest_side(1024)


def test_more_tiles_than_pixels_are_refused():
    with pytest.raises(DataError, match="at most 8 tiles, but 9 were asked for"):
        make_frame(10, 8).tiles(columns=2, rows=9)


@given(st.data())
def test_whole_covers_the_frame_and_nothing_else(data):
    frame = data.draw(frames())
    box = data.draw(boxes(frame))
    assert Box.whole(frame).clipped() == Box.whole(frame)
    assert box.clipped().area <= Box.whole(frame).area == frame.width * frame.height

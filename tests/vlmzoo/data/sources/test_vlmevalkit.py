"""VLMEvalKit's tables: records of any content are found, and S2H's questions come back as they were written."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlmzoo.data.export import Split, export_task
from vlmzoo.data.images import load_image
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._tsv_rows import TsvRows
from vlmzoo.data.synthetic import TASKS
from vlmzoo.errors import DataError
from vlmzoo.scoring import SCORES

TASK_NAMES = ("consecutive_table_readout", "table_readout", "grid_navigation", "visual_analogy")
cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=8) | st.sampled_from(
    ["\t", "\n", '"', 'a"b', "", "\n\n", '""']
)


@given(rows=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=5))
def test_tables_are_read_as_they_were_written(rows, tmp_path_factory):
    """Python's own writer is the oracle; its blank lines are records without content, which are passed over."""
    file = io.StringIO(newline="")
    csv.writer(file, dialect="excel-tab", lineterminator="\n").writerows([("a", "b", "c"), *rows])
    path = tmp_path_factory.mktemp("table") / "table.tsv"
    path.write_text(file.getvalue(), encoding="utf-8", newline="")
    table = TsvRows(path)
    assert len(table) == len(rows)
    for index in reversed(range(len(rows))):
        expected = dict(zip("abc", rows[index], strict=True))
        assert table.row(index) == {name: value for name, value in expected.items() if value}


def export(tmp_path, name, kind, **options):
    entry = TASKS.entry(name)
    task = TASKS.build({"type": name, **entry.tiny, **options})
    (path,) = export_task(task, Split(kinds=[kind], num=4, seed=3), tmp_path / kind, format="vlmevalkit")
    return task, path


@pytest.mark.parametrize("kind", ["text", "image"])
@pytest.mark.parametrize("name", TASK_NAMES)
def test_questions_come_back_with_image_and_reference(name, kind, tmp_path):
    task, path = export(tmp_path, name, kind)
    title = name.title().replace("_", "")
    assert path.name == f"OurEval_{title}_SIMPLE_{kind}.tsv"
    source = SOURCES.build({"type": "vlmevalkit", "path": str(path), "lead": "\n\n"})
    assert source.size == 4
    for index in range(4):
        read, drawn = source.sample(index), task.sample(kind, 3, index)
        assert read.messages == list(drawn.messages[:1])
        assert (read.id, read.reference) == (f"0_{index}", drawn.reference)
        for found, expected in zip(read.images, drawn.images, strict=True):
            assert load_image(found).size == expected.size


def test_an_image_is_a_jpeg_of_the_authors_quality(tmp_path):
    task, path = export(tmp_path, "table_readout", "image")
    image = SOURCES.build({"type": "vlmevalkit", "path": str(path)}).sample(1).images[0]
    file = io.BytesIO()
    task.image(task.instance(3, 1)).save(file, format="JPEG", quality=75)
    assert load_image(image).tobytes() == Image.open(file).convert("RGB").tobytes()


def test_the_columns_are_the_authors(tmp_path):
    _, table = export(tmp_path, "table_readout", "text")
    assert TsvRows(table).names == ["index", "question", "answer"]
    task, grid = export(tmp_path, "grid_navigation", "image")
    rows, instance = TsvRows(grid), task.instance(3, 2)
    places = ["num_steps", "start_row", "start_col", "end_row", "end_col", "text", "collect_objects_coordinates"]
    assert rows.names == ["index", "question", "answer", *places, "image"]
    row = rows.row(2)
    assert [int(row["start_row"]), int(row["start_col"])] == [number + 1 for number in instance.start]
    assert [int(row["end_row"]), int(row["end_col"])] == [number + 1 for number in instance.destination]
    assert row["collect_objects_coordinates"] == ":".join(f"{r + 1}-{c + 1}" for r, c in instance.stops)
    assert (int(row["num_steps"]), row["text"]) == (len(instance.trace), instance.codes_text)
    assert row["answer"].startswith("[(")


@pytest.mark.parametrize(("compat", "start"), [(None, "The image shows"), ("s2h", "\n\nThe image shows")])
def test_questions_about_grids_lose_their_empty_lines_unless_as_released(compat, start, tmp_path):
    _, path = export(tmp_path, "grid_navigation", "image", compat=compat)
    assert TsvRows(path).row(0)["question"].startswith(start)


def test_references_of_grids_are_what_scores_walk(tmp_path):
    task, path = export(tmp_path, "grid_navigation", "text")
    score = SCORES.build({"type": "grid_exact_match"})
    for index in range(4):
        reference = SOURCES.build({"type": "vlmevalkit", "path": str(path)}).sample(index).reference
        assert score(task.response(task.instance(3, index), "text"), reference) == 1.0


def write(tmp_path, text, name="questions.tsv"):
    (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return str(tmp_path / name)


def test_an_image_can_be_that_of_another_record_or_several(tmp_path):
    tiny = SOURCES.build({"type": "vlmevalkit", **SOURCES.entry("vlmevalkit").tiny})
    first, second = tiny.sample(0), tiny.sample(1)
    assert load_image(first.images[0]).tobytes() == load_image(second.images[0]).tobytes()
    assert second.messages[0]["content"][1]["text"] == '\nIs this "blue",\nor is it another colour?'
    assert (second.reference, second.meta) == ("B", {"A": "yes", "B": "no", "category": "colour"})
    red = tiny.rows.row(0)["image"]
    several = write(tmp_path, f"index\tquestion\timage\n0\tWhich?\t\"['{red}', '{red}']\"\n")
    assert len(SOURCES.build({"type": "vlmevalkit", "path": several}).sample(0).images) == 2


def test_paths_of_images_start_in_their_folder(tmp_path):
    Image.new("RGB", (5, 4), "red").save(tmp_path / "red.png")
    path = write(tmp_path, "index\tquestion\timage_path\n0\tWhich?\tred.png\n")
    assert load_image(SOURCES.build({"type": "vlmevalkit", "path": path}).sample(0).images[0]).size == (5, 4)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0\tWhich?", "it must have 3 fields as the header, but has 2 instead"),
        ('0\t"Which?\t', "quotes must enclose a whole field"),
        ('0\t"Which" one?\t', "quotes must enclose a whole field"),
        ("0\t\tA", "`question` must be text, but is missing"),
    ],
)
def test_broken_records_are_named(row, words, tmp_path):
    source = SOURCES.build({"type": "vlmevalkit", "path": write(tmp_path, f"index\tquestion\tanswer\n{row}\n")})
    with pytest.raises(RowError, match=f"(?s)Record 0 of `.*questions.tsv`.*{words}"):
        source.sample(0)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("7", "there is no such index"),
        ("not base64, " * 8, "`image` must be base64"),
        ("[" + "1, " * 30, "a list of images must be one"),
    ],
)
def test_images_that_are_none_are_named(image, words, tmp_path):
    path = write(tmp_path, f"index\tquestion\timage\n0\tWhich?\t{image}\n")
    with pytest.raises(RowError, match=words):
        SOURCES.build({"type": "vlmevalkit", "path": path}).sample(0)


def test_a_grid_with_other_steps_is_named(tmp_path):
    head = "index\tquestion\tanswer\tstart_row\ttext\tcollect_objects_coordinates\n"
    for answer in ("[(1, 1)]", "up", "[5]"):
        path = write(tmp_path, f"{head}0\tWhich?\t{answer}\t1\t:1:2\t1-1\n")
        with pytest.raises(RowError, match="`answer` must be a list of steps"):
            SOURCES.build({"type": "vlmevalkit", "path": path}).sample(0)


@pytest.mark.parametrize("content", ["", "index\tquestion\n", '"index\tquestion\n0\tWhich?\n', b"index\tq\xff\n0\ta\n"])
def test_files_that_are_no_tables_are_refused(content, tmp_path):
    with pytest.raises(DataError, match="questions.tsv` (must|cannot)"):
        SOURCES.build({"type": "vlmevalkit", "path": write(tmp_path, content)})


def test_tables_are_read_as_one(tmp_path):
    paths = [write(tmp_path, f"index\tquestion\n{n}\tWhich?\n", f"{n}.tsv") for n in range(3)]
    source = SOURCES.build({"type": "vlmevalkit", "path": paths})
    assert [source.sample(n).id for n in range(3)] == ["0", "1", "2"]

import ast
import importlib.util
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
MAX_CELLS = 10


def read(path):
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_short_and_kept_without_outputs(path):
    notebook = read(path)
    assert len(notebook.cells) <= MAX_CELLS
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def statements(path):
    """The code of a notebook, without what only a notebook understands."""
    cells = [cell.source for cell in read(path).cells if cell.cell_type == "code"]
    lines = [line for source in cells for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    return ast.parse("\n".join(lines))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_imports_is_there(path):
    imports = [node for node in ast.walk(statements(path)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if str(node.module).split(".")[0] == "vlmzoo"]
    assert ours
    for node in ours:
        module = importlib.import_module(str(node.module))
        for alias in node.names:
            assert hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}")


def cases():
    """A kernel takes half a minute on a busy machine: the first notebook stands for all, the others are slow."""
    first, *others = NOTEBOOKS
    return [pytest.param(first, id=first.stem), *(pytest.param(p, id=p.stem, marks=pytest.mark.slow) for p in others)]


@pytest.mark.parametrize("path", cases())
def test_a_notebook_runs_from_top_to_bottom(path):
    place = {"metadata": {"path": str(REPOSITORY)}}
    client = nbclient.NotebookClient(read(path), timeout=300, kernel_name="python3", resources=place)
    executed = client.execute()
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")

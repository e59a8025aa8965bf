"""The notebooks: stored without outputs, executed with short settings, from their first cell to their last."""

import os
import pathlib

import nbformat
import pytest
from doc_blocks import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHORT = """
supernet_epochs = 2
generations = 3
population_size = 4
retrain_epochs = 2
quantization_epochs = 1
measured_networks = 3
"""


@pytest.fixture(params=NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_two():
    assert [path.stem for path in NOTEBOOKS] == ["digits_in_ten_minutes", "from_supernet_to_phone"]


def test_a_notebook_is_valid_and_stored_without_outputs(notebook):
    nbformat.validate(notebook)
    assert [cell.source for cell in code_cells(notebook) if cell.outputs or cell.execution_count is not None] == []


def test_a_notebook_begins_with_its_title_and_has_one_cell_of_parameters(notebook):
    assert notebook.cells[0].source.startswith("# ")
    assert [cell.source for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", ())] == [
        code_cells(notebook)[0].source
    ]


@pytest.mark.slow
def test_a_notebook_runs_to_its_end(notebook, tmp_path, monkeypatch):
    """With few epochs, in an empty folder; a cell that fails fails the test."""
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    place = notebook.cells.index(code_cells(notebook)[0])
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(SHORT))
    NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert len(list(pathlib.Path(tmp_path).rglob("*.tflite"))) >= 2
    assert sum("image/png" in output.get("data", {}) for cell in code_cells(notebook) for output in cell.outputs) >= 1

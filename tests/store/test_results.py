from pathlib import Path

import pytest

from medbench.store import CellId, CellResult, RunLayout, RunResult


def cell(dataset, model, fold, status="ok", by_image=False):
    return CellResult(
        id=CellId(dataset=dataset, model=model, split=f"{by_image}{fold}"),
        status=status,
        reason="",
        record={},
        predictions=None,
        fold=fold,
        by_image=by_image,
    )


CELLS = (
    cell("a", "m", 0),
    cell("a", "m", 1, status="failed"),
    cell("a", "m", 0, by_image=True),
    cell("a", "n", 0),
    cell("b", "m", 0),
)


@pytest.mark.parametrize(
    ("asked", "positions"),
    [
        ({}, [0, 3]),
        ({"model": "m"}, [0]),
        ({"model": "m", "status": None}, [0, 1]),
        ({"model": "m", "status": "failed"}, [1]),
        ({"by_image": True}, [2]),
        ({"model": "gone"}, []),
    ],
)
def test_cells_are_found_by_model_status_and_kind_of_split(asked, positions):
    run = RunResult(
        folder=Path("run"), configuration={}, environment={}, datasets={}, audits={}, cells=CELLS
    )
    assert run.cells_of("a", **asked) == tuple(CELLS[position] for position in positions)


@pytest.mark.parametrize("name", ["../../up", "a/b", "..", ".", "", "<script>", "C:\\x", "日本"])
def test_no_name_of_a_data_set_leaves_the_folder_of_figures_and_cards(name):
    files = RunLayout(Path("run"))
    assert files.figure(name, "roc").parts[:2] == ("run", "figures")
    assert len(files.figure(name, "roc").parts) == 4
    assert not set(files.figure(name, "roc").parts[2]) & set('/\\<>:"')
    assert files.figure(name, "roc").parts[2] not in (".", "..")
    for card in (files.data_card(name), files.model_card(name)):
        assert card.parent == Path("run/cards")


def test_two_names_that_look_alike_get_two_folders():
    files = RunLayout(Path("run"))
    assert files.copies("a/b").parent != files.copies("a|b").parent


def test_a_cell_knows_its_name_and_its_run():
    files = RunLayout(Path("somewhere/run"))
    for one in CELLS:
        found = files.cell(one.id)
        assert found.id == one.id and found.run == files.folder

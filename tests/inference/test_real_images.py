"""A chest film, a brain slice, a DICOM and a NIfTI file: the same from every way in."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from medbench import load_model
from medbench.cli import main

pytestmark = [pytest.mark.real, pytest.mark.slow]


def made(name: str, data: Path, folder: Path) -> Path:
    """A small run on a real set."""
    given = ["run", "--datasets", name, "--data-dir", str(data), "--models", "hog-svm", "cnn"]
    how = ["--folds", "2", "--trials", "1", "--time", "5s", "--out", str(folder / name)]
    assert main([*given, *how, "--no-images"]) == 0
    return folder / name


def files(data: Path, name: str) -> list[tuple[Path, int | None]]:
    """Files to classify with the model of a set, with the slice of a volume."""
    if name == "covid-or-healthy":
        film = sorted((data / "covid-cxr" / "no_finding").iterdir())[0]
        return [(film, None)]
    return [
        (sorted((data / "brain-mri" / "yes").iterdir())[0], None),
        (sorted((data / "dicom-brain-mr").rglob("*.dcm"))[0], None),
        (sorted((data / "nifti-hippocampus" / "volumes").iterdir())[0], 17),
    ]


def by_command(run: Path, file: Path, number: int | None, capsys) -> list[float]:
    slice_ = [] if number is None else ["--slice", str(number)]
    capsys.readouterr()
    assert main(["predict", str(file), "--run", str(run), "--format", "json", *slice_]) == 0
    found = json.loads(capsys.readouterr().out)
    if run.name == "covid-or-healthy":
        assert any("Shortcut risk" in text for text in found["about"]["verdicts"])
    return list(found["images"][0]["probabilities"].values())


def by_page(run: Path, file: Path, number: int | None, browser) -> dict[str, float]:
    """What a real browser is answered when the file is chosen."""
    from medbench.inference.serve.server import address, listen, make_server

    model = load_model(run)
    with listen(0) as listening:
        server = make_server(model)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        page = browser.new_page()
        page.goto(address(listening))
        with page.expect_response(lambda answer: "/classify" in answer.url) as got:
            page.locator("input[type=file]").set_input_files(str(file))
        answer = got.value.json()
        if "slices" in answer:
            page.locator("input[type=number]").fill(str(number))
            with page.expect_response(lambda answer: "/classify" in answer.url) as got:
                page.locator("input[type=number]").press("Enter")
            answer = got.value.json()
        page.close()
        server.should_exit = True
        thread.join(10)
    return answer["probabilities"]


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("name", ["covid-or-healthy", "brain-mri"])
def test_every_way_in_gives_the_same_probabilities(name, real_data, tmp_path, capsys, browser):
    run = made(name, real_data, tmp_path)
    out = tmp_path / "exported"
    given = ["export", str(run), "--data-dir", str(real_data), "--out", str(out)]
    assert main(given) == 0
    for file, number in files(real_data, name):
        said = by_command(run, file, number, capsys)
        model = load_model(run)
        np.testing.assert_allclose(
            model.classify(file, slice_number=number)[0].probabilities, said, atol=1e-12
        )
        np.testing.assert_allclose(by_command(out, file, number, capsys), said, atol=1e-4)
        shown = by_page(run, file, number, browser)
        np.testing.assert_allclose(list(shown.values()), said, atol=1e-12)

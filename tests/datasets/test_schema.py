import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from medbench.datasets.catalog import shipped
from medbench.datasets.schema import catalog_schema

PUBLISHED = Path(__file__).parents[2] / "docs" / "datasets.schema.json"


@pytest.fixture(scope="module")
def check():
    return jsonschema.Draft202012Validator(catalog_schema())


def test_what_is_published_is_what_the_sources_give():
    # after a change: python -m medbench datasets schema > docs/datasets.schema.json
    assert json.loads(PUBLISHED.read_text()) == catalog_schema()


def test_the_registered_data_sets_are_valid(check):
    check.validate(yaml.safe_load(shipped("datasets.yaml").read_text()))


@pytest.mark.parametrize(
    "entry",
    [
        {"source": "folder"},
        {"source": "folder", "path": "x", "pahts": "y"},
        {"source": "floder", "path": "x"},
        {"source": "folder", "path": "x", "image_size": 8},
        {"source": "folder", "path": "x", "groups": {"table": "t.csv", "groop": "id"}},
        {"path": "x"},
    ],
)
def test_an_editor_marks_what_the_catalog_refuses(check, entry):
    assert not check.is_valid({"mine": entry})


def test_numbers_may_stand_for_names_and_every_field_is_explained(check):
    assert check.is_valid({"mine": {"source": "table", "path": "t.csv", "label": 1}})
    for model in catalog_schema()["$defs"].values():
        assert all(field["description"] for field in model["properties"].values())

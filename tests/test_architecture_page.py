"""The page on how MedBench is built names what is there, and all of its rooms in their order."""

import ast
import re
import tomllib
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
CODE = ROOT / "medbench"
SVG = "{http://www.w3.org/2000/svg}"
PICTURE = ElementTree.parse(ROOT / "docs" / "architecture.svg")
LINKS = re.findall(r"\[(`?)([^\]`]+)`?\]\(([^)#]+)\)", PAGE)
NAMES = sorted({(name, path) for code, name, path in LINKS if code and path.endswith(".py")})


def defined(tree: ast.Module) -> set[str]:
    """Functions, classes and methods of a module; a method with its class, as ``Class.method``."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    outer = [node for node in tree.body if isinstance(node, kinds)]
    inner = {
        f"{node.name}.{each.name}"
        for node in outer
        for each in node.body
        if isinstance(each, kinds)
    }
    return {node.name for node in outer} | inner


def test_what_the_page_names_is_there():
    for path in {path for _, path in NAMES}:
        file = (ROOT / "docs" / path).resolve()
        assert file.is_file(), path
        inside = {file.stem, *defined(ast.parse(file.read_text()))}
        for name in (name for name, of in NAMES if of == path):
            # a name with a suffix is the file itself
            found = str(file).endswith(f"/{name}") if name.endswith(".py") else name in inside
            assert found, f"{name} is not in {path}"


def test_other_links_of_the_page_lead_somewhere():
    for _, _, path in LINKS:
        assert (ROOT / "docs" / path).resolve().exists(), path


def rooms() -> dict[str, tuple[float, float, float, float]]:
    """The boxes of the picture by name: left, top, width and height."""
    return {
        room.get("id"): tuple(
            float(room.find(f"{SVG}rect").get(key)) for key in ("x", "y", "width", "height")
        )
        for room in PICTURE.iterfind(f".//{SVG}g")
    }


def layers() -> list[set[str]]:
    """The rooms as the lint step holds them, from the top down."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = [
        each
        for each in config["tool"]["importlinter"]["contracts"]
        if each["name"] == "Imports run downwards only"
    ]
    return [
        {name.strip().removeprefix("medbench.") for name in layer.split("|")}
        for layer in contract["layers"]
    ]


def test_the_table_has_every_room_from_the_top_down():
    section = PAGE.split("## The rooms")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| [")]
    assert [set(re.findall(r"\[`(\w+)`\]", row)) for row in rows] == layers()


def test_the_picture_has_every_room_from_the_top_down():
    drawn = rooms()
    shown = [layer & drawn.keys() for layer in layers() if layer & drawn.keys()]
    packages = {path.parent.name for path in CODE.glob("*/__init__.py")}
    assert set().union(*shown) == drawn.keys() == packages - {"cache"} | {"registry"}
    for upper, lower in pairwise(shown):
        assert max(drawn[name][1] for name in upper) < min(drawn[name][1] for name in lower)


@pytest.mark.parametrize("way", ["image", "parameter", "result"])
def test_the_steps_in_the_picture_are_those_of_the_text_in_the_rooms_of_what_they_name(way):
    section = PAGE.split(f" {way}\n\n1. ")[1].split("\n## ")[0]
    steps = re.findall(r"\*\*([\w ]+)\.\*\*(.*)", section)
    drawn = PICTURE.iterfind(f".//{SVG}circle[@class='{way}']")
    words = [text.text for text in PICTURE.iterfind(f".//{SVG}text[@class='{way}']")]
    assert [word for word, _ in steps] == words
    for (word, text), dot in zip(steps, drawn, strict=True):
        x, y = float(dot.get("cx")), float(dot.get("cy"))
        (room,) = [
            n for n, (left, top, w, h) in rooms().items() if 0 < x - left < w and 0 < y - top < h
        ]
        assert f"](../medbench/{room}/" in text, f"{word} is drawn in {room}"

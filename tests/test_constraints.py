"""The lower bounds that are declared are those that ``tox -e oldest`` installs."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).resolve().parents[1]
TESTED_EXTRAS = ("cpu", "excel", "kaggle", "serve", "weights")
ELSEWHERE = "sys_platform == 'darwin'"


def lower_bound(requirement):
    (bound,) = [s.version for s in requirement.specifier if s.operator in (">=", "==")]
    return Version(bound)


def test_oldest_installs_every_direct_dependency_at_its_lower_bound():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    declared = list(project["dependencies"])
    for extra in TESTED_EXTRAS:
        declared += project["optional-dependencies"][extra]
    requirements = [Requirement(line) for line in declared if ELSEWHERE not in line]
    lines = (PROJECT / "constraints-oldest.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {name: Version(version) for name, version in pinned.items()} == {
        canonicalize_name(r.name): lower_bound(r) for r in requirements
    }

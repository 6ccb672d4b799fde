"""Memory is that of the machine, or less where a container has less."""

import sys

import pytest

from medbench import memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is told on Linux only")


def test_the_memory_of_the_machine_is_the_most():
    import os

    assert memory.available_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("group", "file", "limit"),
    [
        ("0::/a/b", "a/b/memory.max", 5_000_000),
        ("0::/a/b", "a/memory.max", 5_000_000),
        ("0::/of/the/outside", "memory.max", 5_000_000),
        ("0::/a/b", "a/b/memory.max", None),
        ("4:memory:/a", "memory/a/memory.limit_in_bytes", 5_000_000),
        ("4:memory:/a", "memory/memory.limit_in_bytes", 9223372036854771712),
        ("2:cpu,cpuacct:/a", "memory.max", None),
    ],
)
def test_the_limit_of_a_container_counts(tmp_path, monkeypatch, group, file, limit):
    of_machine = 8_000_000
    (tmp_path / "meminfo").write_text(f"MemTotal:  {of_machine // 1024} kB\nMemFree: 1 kB\n")
    (tmp_path / "own").write_text(f"{group}\n")
    path = tmp_path / "cgroup" / file
    path.parent.mkdir(parents=True)
    path.write_text(f"{limit or 'max'}\n")
    monkeypatch.setattr(memory, "_CONTAINERS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_OWN", tmp_path / "own")
    expected = of_machine // 1024 * 1024
    assert memory.available_memory() == min(expected, limit or expected)


def test_where_nothing_tells_it_it_is_unknown(tmp_path, monkeypatch):
    for name in ("_MEMORY", "_OWN"):
        monkeypatch.setattr(memory, name, tmp_path / "absent")
    assert memory.available_memory() is None

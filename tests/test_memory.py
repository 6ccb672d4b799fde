"""Memory is that of the machine, or less where a container has less."""

import sys

import psutil
import pytest

from medbench import memory
from medbench.execution import doctor

MACHINE, FREE = 8_000_000, 6_000_000
"""Bytes of the machine, and those of it that nobody uses."""
linux = pytest.mark.skipif(sys.platform != "linux", reason="containers are of Linux")


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Writes what the system says of a machine, and of the container of this process."""
    (tmp_path / "meminfo").write_text(
        f"MemTotal: {MACHINE // 1024} kB\nMemFree: 1 kB\nMemAvailable: {FREE // 1024} kB\n"
        "Buffers: 0 kB\nCached: 1 kB\nActive: 1 kB\nInactive: 1 kB\nSlab: 0 kB\nShmem: 0 kB\n"
    )
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    monkeypatch.setattr(memory, "_CONTAINERS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_OWN", tmp_path / "own")

    def write(own, folder, **files):
        (tmp_path / "own").write_text(f"{own}\n")
        (tmp_path / "cgroup" / folder).mkdir(parents=True)
        for name, text in files.items():
            path = tmp_path / "cgroup" / folder / f"memory.{name}"
            path.write_text(f"{text}\n")

    return write


def test_what_is_free_is_a_part_of_all():
    assert 0 < memory.available_memory() <= memory.total_memory() <= psutil.virtual_memory().total


@linux
@pytest.mark.parametrize(
    ("own", "folder", "file", "limit"),
    [
        ("0::/a/b", "a/b", "max", 5_000_000),
        ("0::/a/b", "a", "max", 5_000_000),
        ("0::/of/the/outside", "", "max", 5_000_000),
        ("0::/a/b", "a/b", "max", None),
        ("4:memory:/a", "memory/a", "limit_in_bytes", 5_000_000),
        ("4:memory:/a", "memory", "limit_in_bytes", 9223372036854771712),
        ("2:cpu,cpuacct:/a", "", "max", None),
    ],
)
def test_the_limit_of_a_container_counts(group, own, folder, file, limit):
    group(own, folder, **{file: limit or "max"})
    assert memory.total_memory() == min(MACHINE // 1024 * 1024, limit or MACHINE)


@linux
@pytest.mark.parametrize(
    ("own", "folder", "names"),
    [
        ("0::/a", "a", ("max", "current", "inactive_file")),
        ("4:memory:/a", "memory/a", ("limit_in_bytes", "usage_in_bytes", "total_inactive_file")),
    ],
)
def test_files_that_a_container_has_read_do_not_use_up_its_memory(group, own, folder, names):
    limit, usage, files = names
    group(own, folder, **{limit: 5_000_000, usage: 4_000_000, "stat": f"anon 1\n{files} 3000000"})
    assert memory.available_memory() == 4_000_000


@linux
def test_a_container_that_is_full_has_nothing_free(group):
    group("0::/a", "a", max=5_000_000, current=5_500_000)
    assert memory.available_memory() == 0


@linux
def test_outside_of_a_container_memory_is_what_the_machine_has(group):
    assert memory.total_memory() == MACHINE // 1024 * 1024
    assert memory.available_memory() == FREE // 1024 * 1024


@linux
def test_doctor_says_where_little_is_free(group):
    group("0::/a", "a", max=5_000_000, current=1_000_000)
    (found,) = (check for check in doctor._machine() if check.about == "memory")
    assert found.state == "note" and found.text.startswith("5.0 MB, 4.0 MB free. Close other")

"""Whatever is in a file, it is read or refused by name: no traceback, no hang, no lack of memory.

The files are made here, by seed, and read in processes of bounded memory under lowered limits.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from .malformed import SOUND, WAYS, malformed

CHILD = Path(__file__).with_name("read_malformed.py")
N_FAST, N_SLOW = 3, 16
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux only")


def became(folder):
    """What became of each file of a folder, by its name.

    A file that ends its process is "killed", and the rest is read by another one.
    """
    found = {}
    while names := sorted(path.name for path in folder.iterdir()):
        done = subprocess.run(
            [sys.executable, str(CHILD), str(folder)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "MEDBENCH_SIZE_FACTOR": "0.01", "OMP_NUM_THREADS": "1"},
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        begun = [line["begins"] for line in lines if "begins" in line]
        ended = {line["name"]: line for line in lines if "name" in line}
        assert begun or done.returncode == 0, done.stderr
        for name in begun:
            found[name] = ended.get(
                name, {"became": f"killed ({done.returncode})", "trace": done.stderr[-2000:]}
            )
            (folder / name).unlink()
        assert len(begun) <= len(names)
    return found


def write(folder, name, seeds):
    for seed in seeds:
        way, content = malformed(name, seed)
        (folder / f"{seed:03d} {way} {name}").write_bytes(content)


def check(found):
    bad = {name: one for name, one in found.items() if one["became"] not in ("read", "refused")}
    for name, one in bad.items():
        print(name, one["became"], one["trace"], sep="\n")
    assert not bad


def test_sound_files_are_read(tmp_path):
    for name, make in SOUND.items():
        (tmp_path / name).write_bytes(make())
    found = {name: one["became"] for name, one in became(tmp_path).items()}
    assert found == {name: "read" for name in SOUND} | {"out-of-distribution.npz": "refused"}


def test_the_same_seed_damages_alike():
    for name in SOUND.keys() - {"x.skops"}:  # whose parts are called by chance
        assert malformed(name, 5) == malformed(name, 5)


def test_some_damaged_files_of_every_format(tmp_path):
    for number, name in enumerate(SOUND):
        write(tmp_path, name, range(N_FAST * number, N_FAST * (number + 1)))
    found = became(tmp_path)
    assert len(found) == N_FAST * len(SOUND)
    assert {way for way in WAYS if any(f" {way} " in name for name in found)} == set(WAYS)
    check(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND)
def test_many_damaged_files_of_every_format(name, tmp_path):
    write(tmp_path, name, range(1000, 1000 + N_SLOW))
    found = became(tmp_path)
    assert len(found) == N_SLOW
    check(found)
    print(Counter(one["became"] for one in found.values()))

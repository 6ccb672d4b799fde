"""Families that are hard to end or to follow; tests of the local executor load this as a plugin."""

import contextlib
import mmap
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from medbench import register_model
from medbench.awake import awake_seconds
from medbench.testing.executor_families import Brightness, _Family

LONG = 600


def work_folder(classifier):
    """The folder of the test, in which the weights lie."""
    return classifier.context.weights.path.parent


def beat(path):
    """Make a file grow for a long time."""
    end = time.monotonic() + LONG
    with path.open("ab", buffering=0) as file:
        while time.monotonic() < end:
            file.write(b".")
            time.sleep(0.01)


def family(name):
    def register(classifier):
        register_model(name)(type(name, (_Family,), {"classifier": classifier, "__doc__": name}))
        return classifier

    return register


@family("holds")
class Holds(Brightness):
    def fit(self, *given):
        (work_folder(self) / "holds").touch()
        sum(range(10**11))


@family("stops")
class Stops(Brightness):
    def fit(self, *given):
        (work_folder(self) / "stops").touch()
        os.kill(os.getpid(), signal.SIGSTOP)


@family("stops-guardian")
class StopsGuardian(Brightness):
    """Whoever keeps its limits stands still, so that nothing that it tells is passed on."""

    def fit(self, *given):
        os.kill(os.getppid(), signal.SIGSTOP)
        super().fit(*given)


@family("cuts-loose")
class CutsLoose(Brightness):
    """Its process waits; another, which is nobody's child any more, beats."""

    def fit(self, *given):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.closerange(0, 3)
                beat(work_folder(self) / "cuts-loose")
            os._exit(0)
        time.sleep(LONG)


@family("beats")
class Beats(Brightness):
    """Beats until it is told to end, and says how long that took by two clocks."""

    def fit(self, *given):
        awake, passed = awake_seconds(), time.perf_counter()
        path = work_folder(self)
        with (path / "beats").open("ab", buffering=0) as file:
            while not (path / "enough").exists():
                file.write(b".")
                time.sleep(0.01)
        clocks = (awake_seconds() - awake, time.perf_counter() - passed)
        if not (path / "clocks").exists():
            (path / "clocks").write_text(" ".join(map(str, clocks)))
        super().fit(*given)


@family("killed-once")
class KilledOnce(Brightness):
    """Is killed in its fourth fit, the last of its second trial."""

    killed_in = (4,)

    def fit(self, *given):
        fits = work_folder(self) / "fits"
        with fits.open("ab") as file:
            file.write(b".")
        if self.killed_in is None or fits.stat().st_size in self.killed_in:
            os.kill(os.getpid(), signal.SIGKILL)
        super().fit(*given)


@family("killed-always")
class KilledAlways(KilledOnce):
    killed_in = None


@family("exits")
class Exits(Brightness):
    def fit(self, *given):
        sys.exit(7)


@family("aborts")
class Aborts(Brightness):
    def fit(self, *given):
        os.abort()


@family("listens")
class Listens(Brightness):
    """Reads what is not meant for it, and closes it."""

    def fit(self, *given):
        if not sys.stdin.closed:
            assert sys.stdin.read() == ""
            sys.stdin.close()
        super().fit(*given)


@family("prints")
class Prints(Brightness):
    def fit(self, *given):
        for i in range(30_000):
            print(f"line {i} {'x' * 100}")
        super().fit(*given)


@family("shares")
class Shares(Brightness):
    """Several processes that have the same 300 MB."""

    def fit(self, *given):
        memory = np.ones(300_000_000, dtype=np.uint8)
        children = [child for _ in range(4) if (child := os.fork() or time.sleep(LONG))]
        time.sleep(1)
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert memory[-1] == 1
        super().fit(*given)


@family("shares-a-map")
class SharesAMap(Brightness):
    """Takes memory that counts as a file's."""

    def fit(self, *given):
        memory = mmap.mmap(-1, 900 << 20)
        for begin in range(0, len(memory), 1 << 20):
            memory[begin : begin + (1 << 20)] = bytes(1 << 20)
        time.sleep(LONG)


FOREIGN = {
    "writes-words": b"hello\n",
    "writes-a-number": b"1\n",
    "writes-a-half": b'{"event": "TrialEnded"}\n',
    "writes-a-fit": b'{"event": "Fitted", "record": {"params": {}}}\n',
    "writes-more": b'{"event": "RefitBegan", "more": 1}\n',
    "writes-an-end": b"}",
    "writes-deeply": b"[" * 100_000 + b"\n",
    "writes-without-end": b"x" * 3_000_000,
}


def _writing(content):
    class Writes(Brightness):
        def fit(self, *given):
            for opened in Path("/proc/self/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # that of the folder itself
                    if int(opened.name) > 2 and "pipe:" in str(opened.readlink()):
                        os.write(int(opened.name), content)
            super().fit(*given)

    return Writes


for _name, _content in FOREIGN.items():
    family(_name)(_writing(_content))

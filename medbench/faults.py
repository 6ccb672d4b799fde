"""Which errors are the machine's: no disk, no memory, a place that cannot be read or written.

Such an error says nothing of the model that met it. Whoever works on a cell asks here, and nowhere
else, whether an error is a result or has to be mended first.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator

from medbench.errors import MachineError, MedBenchError, StoreError

_OF_THE_MACHINE = (OSError, MemoryError, MachineError, StoreError)
_OF_LIBRARIES = frozenset({"ResourceExhaustedError", "OutOfMemoryError"})
"""Names of classes of TensorFlow and PyTorch that are none of the above."""
_REFUSALS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE,
    errno.ENOMEM, errno.EMFILE, errno.ENFILE,
)  # fmt: skip
"""What libraries in C and C++ pass on from the operating system as a text: HDF5, XGBoost, ..."""
_WORDS = re.compile(
    "|".join(
        (
            *(re.escape(os.strerror(number)) for number in _REFUSALS),
            r"std::bad_alloc|bad allocation",  # XGBoost, ONNX Runtime, and other C++
            r"failed to allocate|unable to allocate|can't allocate memory|out of memory",
            r"OOM when allocating|RESOURCE_EXHAUSTED",  # TensorFlow, JAX
            r"can't start new thread",
            r"database or disk is full|disk I/O error|unable to open database file",  # SQLite
        )
    ),
    re.IGNORECASE,
)
_LONGEST_REASON = 2000
"""Characters of an error's text that are kept."""


def is_fault(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, is trouble of the machine.

    Every ``OSError`` is, also one that a family's own file raises: it is cheaper to be told twice
    to mend something than to take a full disk for a bad model.
    """
    return any(
        isinstance(one, _OF_THE_MACHINE)
        or type(one).__name__ in _OF_LIBRARIES
        or _WORDS.search(words_of(one)) is not None
        for one in _chain(error)
    )


def reason_of(error: BaseException) -> str:
    """What an error says, as the row of a cell gives it."""
    text = words_of(error)
    if not isinstance(error, MedBenchError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]} ..."


def words_of(error: BaseException) -> str:
    """What an error says, without its class; of those of a whole folder the first one."""
    try:
        if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
            return str(error.args[0][0][-1])  # source, target, why
        return str(error)
    except Exception:  # somebody's own class of errors
        return "an error that cannot be put into words"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, those in it, and those it was raised from, each once."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            pending += one.exceptions
        pending += [one.__cause__, None if one.__suppress_context__ else one.__context__]

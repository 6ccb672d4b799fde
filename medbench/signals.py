"""How a command ends that is told to, by Ctrl-C, TERM or HUP.

TERM comes from a machine that shuts down or the queue of a cluster, HUP from a terminal that is
closed. The first of these signals raises ``Interrupted`` in the main thread, so that all that was
begun is left in order. Ctrl-C after it ends the process at once, whatever it does: a thread of its
own hears that, for the main one may be in native code, wait for a lock or clean up. At once also
ends who is not done with that in ``_GRACE_SECONDS``, since nobody may be there to ask again. What a
process is told to ignore (``nohup``, a background job of a script) stays ignored.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # as in typing, which is long to import before anything is shown
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any, NoReturn

_GRACE_SECONDS = 30.0
"""How long a command may take to end in order."""
_INSISTENT = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGBREAK") if hasattr(signal, name)
)
"""Signals of a person, who means it when they come again. Others come twice by nature: a closed
terminal tells its shell and its commands, and the shell tells them too."""
_SHOW_CURSOR = "\x1b[?25h"
_STDOUT, _STDERR = 1, 2


def ending() -> tuple[signal.Signals, ...]:
    """The signals that end a command, as far as this system has them."""
    others = ("SIGTERM", "SIGHUP")  # Windows has no HUP
    return (*_INSISTENT, *(getattr(signal, name) for name in others if hasattr(signal, name)))


class Interrupted(KeyboardInterrupt):
    """The command was told to end."""


class _Ears:
    """What was heard so far."""

    told: int | None = None
    """The first signal that was heard, which the command ends by."""
    lost = False
    """Whether the exception got lost and is to be raised again."""
    instead: Callable[[], None] | None = None
    """What is called instead of raising an exception."""
    listens = False
    main_thread = 0


_ears = _Ears()


def ends_in_order(command: Callable[[], int]) -> int:
    """Run the command that this process is there for; nothing else is done after it.

    Args:
        command: Gives the status; what it raises after a signal is taken for a consequence.

    Returns:
        Its status, or 128 and the number of the signal, as shells count.
    """
    _listen()
    try:
        status = command()
    except BaseException as error:
        if told_by(error) is None:
            raise
        status = say_interrupted(error)
    finally:
        for number in ending():  # Python's own end is short, and would show a traceback
            if _ears.listens and signal.getsignal(number) is _hear:
                signal.signal(number, signal.SIG_DFL)
    return status


def told_by(error: BaseException) -> int | None:
    """The signal of which an error is a consequence, or None.

    Native code turns an exception that comes while it is imported into another one.
    """
    if _ears.told is not None:
        return _ears.told
    return int(signal.SIGINT) if isinstance(error, KeyboardInterrupt) else None


def say_interrupted(
    error: BaseException, how_to_go_on: str = "Give the same command again to go on."
) -> int:
    """Say in a line that the command was told to end; the status that it ends with.

    The terminal may be gone, which is no error any more.
    """
    number = told_by(error) or int(signal.SIGINT)
    by = "" if number in _INSISTENT else f" by {signal.Signals(number).name}"
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if sys.stdout.isatty():
            sys.stdout.write(_SHOW_CURSOR)
    with contextlib.suppress(OSError, ValueError):
        print(f"\nInterrupted{by}. {how_to_go_on}", file=sys.stderr, flush=True)
    leave_output()
    return 128 + number


def leave_output() -> None:
    """Flush what is printed; where nobody reads it, let nobody hear of that when Python ends."""
    for file, descriptor in ((sys.stdout, _STDOUT), (sys.stderr, _STDERR)):
        try:
            if file is not None:
                file.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


@contextlib.contextmanager
def calling(stop: Callable[[], None]) -> Iterator[bool]:
    """For what ends by a word: the first signal calls ``stop``, and raises at the block's end.

    Yields:
        Whether it will; not where the process does not listen (see ``ends_in_order``).

    Raises:
        Interrupted: A signal came.
    """
    if not _ears.listens:
        yield False
        return
    _ears.instead = stop
    try:
        yield True
    finally:
        _ears.instead = None
    if _ears.told is not None:
        raise Interrupted


def _listen() -> None:
    """Hear all signals that end a command and are not ignored, here and in a thread."""
    try:
        for number in ending():
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _hear)
    except ValueError:  # not the main thread: whoever started it hears them
        return
    _ears.listens, _ears.main_thread = True, _thread.get_ident()
    sys.unraisablehook = _unraisable
    if sys.platform != "win32":  # which wakes no pipe, and where ``_hear`` counts as well
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        _thread.start_new_thread(_watch, (reading,))


def _hear(number: int, frame: FrameType | None) -> None:
    """In the main thread, between two steps of Python."""
    if _ears.told is None:
        _ears.told = number
        sys.excepthook = _say_nothing  # of native code that prints what came into its import
        if threading := sys.modules.get("threading"):
            vars(threading)["excepthook"] = _say_nothing
        if _ears.instead is not None:
            _ears.instead()
            return
    elif _ears.lost:
        _ears.lost = False
    elif number in _INSISTENT:
        _end_at_once(number)
    else:
        return
    raise Interrupted


def _watch(reading: int) -> None:
    """In a thread: every signal as it comes, whatever the main thread does."""
    first, until = None, 0.0
    while True:
        wait = None if first is None else max(0.0, until - time.monotonic())
        if not select.select([reading], [], [], wait)[0]:
            assert first is not None
            _end_at_once(first)
        for number in os.read(reading, 64):
            if first is not None and number in _INSISTENT:
                _end_at_once(number)
            elif first is None and number in ending():
                first, until = number, time.monotonic() + _GRACE_SECONDS


def _end_at_once(number: int) -> NoReturn:
    """End here and now: nothing is waited for, not even for who should read the last line."""
    last = "\nEnded at once. Give the same command again to go on.\n"
    for descriptor, text in ((_STDOUT, ""), (_STDERR, last)):
        with contextlib.suppress(OSError, ValueError):
            if os.isatty(descriptor):
                text = _SHOW_CURSOR + text
            if sys.platform == "win32" or select.select([], [descriptor], [], 0)[1]:
                os.write(descriptor, text.encode())
    os._exit(128 + number)


def _unraisable(lost: Any) -> None:
    """An exception came where none can be raised, such as while an object was removed."""
    if _ears.told is None:
        sys.__unraisablehook__(lost)
    elif isinstance(lost.exc_value, Interrupted):
        _ears.lost = True
        _thread.start_new_thread(_raise_again, ())


def _raise_again() -> None:
    time.sleep(0.01)  # until the hook is left
    if sys.platform != "win32":  # a real signal, which also wakes who waits
        signal.pthread_kill(_ears.main_thread, signal.SIGTERM)  # nobody takes it for insistence


def _say_nothing(*error: Any) -> None:
    """What fails after a signal is a consequence of it."""

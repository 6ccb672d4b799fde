"""What every contract is: tests that pytest collects from a subclass, or that one call runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar
from unittest import SkipTest

from medbench.errors import DatasetError, PluginError

T = TypeVar("T")

_PREFIX = "test_"


class Contract:
    """The tests of one plugin.

    A subclass whose name begins with ``Test`` and that names the plugin is a test class: pytest
    shows each test by itself. No test takes an argument, so ``unittest`` collects them as well
    from a class that is also a ``TestCase``. A test that does not apply is skipped and says why.
    """

    _subject: ClassVar[tuple[object, ...] | None] = None
    _made: ClassVar[object] = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Begin with nothing made: what one class of tests has made is not for another."""
        super().__init_subclass__(**options)
        cls._subject, cls._made = None, None

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of all tests, in their order."""
        classes = [vars(each) for each in reversed(cls.__mro__)]
        return tuple(dict.fromkeys(n for each in classes for n in each if n.startswith(_PREFIX)))

    @classmethod
    def check(cls, **plugin: Any) -> tuple[str, ...]:
        """Run every test, without pytest.

        Args:
            plugin: What a subclass would name, by the names of the attributes.

        Returns:
            Names of the tests that do not apply to this plugin.

        Raises:
            AssertionError: The plugin does not keep its contract; the message says what is wrong
                and what to do.
        """
        static = {n: staticmethod(v) if callable(v) else v for n, v in plugin.items()}
        contract = type(f"Test{cls.__name__}", (cls,), static)()
        left_out = []
        for name in cls.names():
            try:
                getattr(contract, name)()
            except SkipTest:
                left_out.append(name)
        return tuple(left_out)

    def once(self, make: Callable[..., T], *subject: object) -> T:
        """``make(*subject)``; made once for all tests of a subject.

        pytest makes an object for every test, so what is costly is kept by the class.

        Args:
            make: Makes it.
            subject: What it is made of; another subject has it made again.
        """
        cls = type(self)
        if cls._subject != subject:
            cls._made, cls._subject = make(*subject), subject
        return cls._made  # type: ignore[return-value]


class Needed:
    """What a contract cannot do without, until a subclass names it."""

    def __init__(self, example: str) -> None:
        """``example``: what a plugin author would write behind the equals sign."""
        self._example = example
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, contract: Contract | None, owner: type) -> Needed:
        """Say what is missing.

        Raises:
            PluginError: Asked for by a test.
        """
        if contract is None:
            return self
        raise PluginError(
            f"{owner.__name__} does not say what it tests: it has no {self._name!r}. Write "
            f"`{self._name} = {self._example}` into the class."
        )


def needed(example: str) -> Any:
    """An attribute of a contract that a subclass must name, as ``needed("MyModel")``."""
    return Needed(example)


def require(condition: bool, message: str) -> None:
    """Raise ``AssertionError`` with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def refusal(call: Callable[[], object], message: str) -> DatasetError:
    """The error by which a call refuses what it is given.

    Args:
        call: What must be refused.
        message: What is wrong where it is not.

    Raises:
        AssertionError: It is not.
    """
    try:
        call()
    except DatasetError as error:
        return error
    raise AssertionError(f"{message} A DatasetError must be raised.")

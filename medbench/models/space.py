"""One neutral search space: a family describes its parameters once, any tuner searches them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medbench.errors import ModelError

if TYPE_CHECKING:
    from numpy.random import Generator

Value = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class Parameter(ABC):
    """What all kinds of parameter share."""

    name: str
    """Its name in a configuration."""
    default: Any
    """The first trial's value."""
    when: Mapping[str, tuple[Value, ...]]
    """The parameter exists only where each named earlier parameter has one of these values."""

    def active(self, params: Mapping[str, Any]) -> bool:
        """Whether the parameter exists, given the values of the ones before it, by name."""
        return all(params.get(name) in values for name, values in self.when.items())

    @property
    @abstractmethod
    def wanted(self) -> str:
        """Which values it takes, in words."""

    @property
    @abstractmethod
    def n_values(self) -> float:
        """How many values it takes; infinity for a real number."""

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """Whether a value is one that it takes, and of the right type."""

    @abstractmethod
    def sample(self, random: Generator) -> Value:
        """A value at random; where the range is logarithmic, evenly in the logarithm."""


@dataclass(frozen=True, kw_only=True)
class Choice(Parameter):
    """One of a few named values."""

    options: tuple[Value, ...]
    """The values, at least one."""

    @property
    def wanted(self) -> str:
        """See ``Parameter.wanted``."""
        return f"one of {', '.join(map(repr, self.options))}"

    @property
    def n_values(self) -> float:
        """See ``Parameter.n_values``."""
        return len(self.options)

    def contains(self, value: Any) -> bool:
        """See ``Parameter.contains``."""
        return any(type(value) is type(option) and value == option for option in self.options)

    def sample(self, random: Generator) -> Value:
        """See ``Parameter.sample``."""
        return self.options[int(random.integers(len(self.options)))]


@dataclass(frozen=True, kw_only=True)
class Integer(Parameter):
    """A whole number from ``low`` to ``high``, both included."""

    low: int
    """The lowest value."""
    high: int
    """The highest value."""
    log: bool
    """Whether it is searched evenly in its logarithm."""

    @property
    def wanted(self) -> str:
        """See ``Parameter.wanted``."""
        return f"a whole number from {self.low} to {self.high}"

    @property
    def n_values(self) -> float:
        """See ``Parameter.n_values``."""
        return self.high - self.low + 1

    def contains(self, value: Any) -> bool:
        """See ``Parameter.contains``."""
        return type(value) is int and self.low <= value <= self.high

    def sample(self, random: Generator) -> Value:
        """See ``Parameter.sample``."""
        if not self.log:
            return int(random.integers(self.low, self.high + 1))
        return self.nearest(math.floor(_between(self.low, self.high + 1, random, log=True)))

    def nearest(self, value: float) -> int:
        """The value of its range that is next to a number."""
        return min(max(round(value), self.low), self.high)


@dataclass(frozen=True, kw_only=True)
class Real(Parameter):
    """A real number from ``low`` to ``high``, both included."""

    low: float
    """The lowest value."""
    high: float
    """The highest value."""
    log: bool
    """Whether it is searched evenly in its logarithm."""

    @property
    def wanted(self) -> str:
        """See ``Parameter.wanted``."""
        return f"a number from {self.low:g} to {self.high:g}"

    @property
    def n_values(self) -> float:
        """See ``Parameter.n_values``."""
        return math.inf

    def contains(self, value: Any) -> bool:
        """See ``Parameter.contains``."""
        a_number = isinstance(value, int | float) and not isinstance(value, bool)
        return a_number and self.low <= value <= self.high

    def sample(self, random: Generator) -> Value:
        """See ``Parameter.sample``."""
        return self.nearest(_between(self.low, self.high, random, log=self.log))

    def nearest(self, value: float) -> float:
        """The value of its range that is next to a number."""
        return min(max(float(value), self.low), self.high)


def _between(low: float, high: float, random: Generator, *, log: bool) -> float:
    share = random.random()
    return low * (high / low) ** share if log else low + share * (high - low)


class SearchSpace:
    """The parameters of a family, in the order in which they were declared.

    Iterating gives each as a ``Parameter``; ``len`` is their number. A configuration is a
    dictionary of values by name, with only the parameters that are active in it.
    """

    def __init__(self) -> None:
        self._parameters: dict[str, Parameter] = {}
        self._first: list[dict[str, Any]] = []

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._parameters.values())

    def __len__(self) -> int:
        return len(self._parameters)

    def choice(
        self,
        name: str,
        options: Sequence[Value],
        *,
        default: Value | None = None,
        when: Mapping[str, Sequence[Value] | Value] | None = None,
    ) -> None:
        """Declare a parameter that is one of some named values.

        Args:
            name: Its name; no other parameter has it.
            options: Texts, numbers, truth values or None, at least one.
            default: The first trial's value; None for the first of the options.
            when: Names of earlier parameters, each with the value or the values with which this
                one exists; None for always.

        Raises:
            ModelError: It cannot be declared so; the message names the parameter.
        """
        options = tuple(options)
        if not options:
            raise ModelError(f"parameter {name!r}: there are no options.")
        for option in options:
            if not isinstance(option, Value | None):
                raise ModelError(
                    f"parameter {name!r}: option {option!r} is no text, number or truth value."
                )
        default = options[0] if default is None else default
        if default not in options:
            raise ModelError(f"parameter {name!r}: default {default!r} is not among {options}.")
        self._add(Choice(name=name, options=options, default=default, when=_conditions(when)))

    def integer(
        self,
        name: str,
        low: int,
        high: int,
        *,
        default: int | None = None,
        log: bool = False,
        when: Mapping[str, Sequence[Value] | Value] | None = None,
    ) -> None:
        """Declare a parameter that is a whole number.

        Args:
            name: Its name; no other parameter has it.
            low: The lowest value, above 0 where ``log``.
            high: The highest value, above ``low``.
            default: The first trial's value; None for the middle (the geometric mean where
                ``log``).
            log: Whether to search evenly in the logarithm.
            when: As in ``choice``.

        Raises:
            ModelError: It cannot be declared so; the message names the parameter.
        """
        _check_range(name, low, high, log)
        if default is None:
            default = round((low * high) ** 0.5) if log else (low + high) // 2
        _check_default(name, low, high, default)
        self._add(
            Integer(name=name, low=low, high=high, log=log, default=default, when=_conditions(when))
        )

    def real(
        self,
        name: str,
        low: float,
        high: float,
        *,
        default: float | None = None,
        log: bool = False,
        when: Mapping[str, Sequence[Value] | Value] | None = None,
    ) -> None:
        """Declare a parameter that is a real number.

        Args:
            name: Its name; no other parameter has it.
            low: The lowest value, above 0 where ``log``.
            high: The highest value, above ``low``.
            default: The first trial's value; None for the middle (the geometric mean where
                ``log``).
            log: Whether to search evenly in the logarithm.
            when: As in ``choice``.

        Raises:
            ModelError: It cannot be declared so; the message names the parameter.
        """
        _check_range(name, low, high, log)
        if default is None:
            default = (low * high) ** 0.5 if log else (low + high) / 2
        _check_default(name, low, high, default)
        self._add(
            Real(name=name, low=low, high=high, log=log, default=default, when=_conditions(when))
        )

    def begin_with(self, **values: Value) -> None:
        """Name a configuration that a search tries at its beginning, after those named before.

        It is for what is known to be good and cheap: a search that ends after few trials has then
        tried it, and nothing at random instead. Call it after all parameters are declared.

        Args:
            **values: Values by the names of their parameters; all others have their defaults.

        Raises:
            ModelError: That is no configuration of this space.
        """
        params: dict[str, Any] = {}
        for parameter in self:
            if parameter.active(params):
                params[parameter.name] = values.get(parameter.name, parameter.default)
        params |= values
        self.check(params)
        self._first.append(params)

    def first(self, number: int) -> dict[str, Any] | None:
        """The configuration that a search tries as its ``number``-th, counted from 0.

        The first one is the default one; None after the last that is named.
        """
        known = [self.defaults(), *self._first]
        return dict(known[number]) if number < len(known) else None

    def defaults(self) -> dict[str, Any]:
        """The default configuration, with only the parameters that are active in it."""
        params: dict[str, Any] = {}
        for parameter in self:
            if parameter.active(params):
                params[parameter.name] = parameter.default
        return params

    def sample(self, random: Generator) -> dict[str, Any]:
        """A configuration at random, with only the parameters that are active in it.

        Args:
            random: Where it is drawn from, as ``numpy.random.default_rng`` gives it.
        """
        params: dict[str, Any] = {}
        for parameter in self:
            if parameter.active(params):
                params[parameter.name] = parameter.sample(random)
        return params

    @property
    def n_configurations(self) -> float:
        """How many different configurations there are; infinity where one has a real number."""
        return self._count(list(self), {})

    def _count(self, parameters: list[Parameter], params: dict[str, Any]) -> float:
        """Configurations of the given parameters, where those before them have ``params``."""
        if not parameters:
            return 1
        first, others = parameters[0], parameters[1:]
        if not first.active(params):
            return self._count(others, params)
        # Values that others depend on are looked at one by one, all others together.
        named = {v for one in others for v in one.when.get(first.name, ()) if first.contains(v)}
        total = sum(self._count(others, {**params, first.name: value}) for value in named)
        if first.n_values > len(named):
            total += (first.n_values - len(named)) * self._count(others, params)
        return total

    def check(self, params: Mapping[str, Any]) -> None:
        """Make sure that a configuration is one of this space.

        Args:
            params: Value of each parameter, by name.

        Raises:
            ModelError: It names a parameter with the value received and those it takes.
        """
        for parameter in self:
            name = parameter.name
            if not parameter.active(params):
                if name in params:
                    raise ModelError(
                        f"{name} = {params[name]!r} is there, but only has a meaning "
                        f"where {_told(parameter.when)}."
                    )
            elif name not in params:
                raise ModelError(f"{name} has no value; it takes {parameter.wanted}.")
            elif not parameter.contains(params[name]):
                raise ModelError(f"{name} = {params[name]!r}; it takes {parameter.wanted}.")
        for name in params:
            if name not in self._parameters:
                raise ModelError(
                    f"{name} = {params[name]!r}, but there is no such parameter. There are: "
                    f"{', '.join(self._parameters) or 'none'}."
                )

    def _add(self, parameter: Parameter) -> None:
        if not isinstance(parameter.name, str):
            raise ModelError(f"the name of a parameter is a text, not {parameter.name!r}.")
        if parameter.name in self._parameters:
            raise ModelError(f"parameter {parameter.name!r} is declared twice.")
        for name in parameter.when:
            if name not in self._parameters:
                raise ModelError(
                    f"parameter {parameter.name!r} depends on {name!r}, "
                    "which must be declared before it."
                )
        self._parameters[parameter.name] = parameter


def _conditions(
    when: Mapping[str, Sequence[Value] | Value] | None,
) -> dict[str, tuple[Value, ...]]:
    return {
        name: (values,) if isinstance(values, str | int | float | bool) else tuple(values)
        for name, values in (when or {}).items()
    }


def _told(when: Mapping[str, tuple[Value, ...]]) -> str:
    return " and ".join(f"{n} is {' or '.join(map(repr, values))}" for n, values in when.items())


def _check_range(name: str, low: float, high: float, log: bool) -> None:
    if not low < high:
        raise ModelError(f"parameter {name!r}: low {low} must be below high {high}.")
    if log and low <= 0:
        raise ModelError(f"parameter {name!r}: a logarithmic range must begin above 0, not {low}.")


def _check_default(name: str, low: float, high: float, default: float) -> None:
    if not low <= default <= high:
        raise ModelError(f"parameter {name!r}: default {default} is outside [{low}, {high}].")

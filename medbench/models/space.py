"""One neutral search space: a family describes its parameters once, any tuner searches them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medbench.errors import ModelError

Value = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What all kinds of parameter share."""

    name: str
    default: Any
    """The first trial's value."""
    when: Mapping[str, tuple[Value, ...]]
    """The parameter exists only where each named earlier parameter has one of these values."""

    def active(self, params: Mapping[str, Any]) -> bool:
        """Whether the parameter exists, given the values of the ones before it."""
        return all(params.get(name) in values for name, values in self.when.items())


@dataclass(frozen=True, kw_only=True)
class Choice(Parameter):
    """One of a few named values."""

    options: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Integer(Parameter):
    """A whole number from ``low`` to ``high``, both included."""

    low: int
    high: int
    log: bool


@dataclass(frozen=True, kw_only=True)
class Real(Parameter):
    """A real number from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool


class SearchSpace:
    """The parameters of a family, in the order in which they were declared."""

    def __init__(self) -> None:
        self._parameters: dict[str, Parameter] = {}

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
        """One of ``options``; the first one is the default unless another is named."""
        options = tuple(options)
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
        """A whole number in [low, high]; the default is the middle (geometric where ``log``)."""
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
        """A real number in [low, high]; the default is the middle (geometric where ``log``)."""
        _check_range(name, low, high, log)
        if default is None:
            default = (low * high) ** 0.5 if log else (low + high) / 2
        _check_default(name, low, high, default)
        self._add(
            Real(name=name, low=low, high=high, log=log, default=default, when=_conditions(when))
        )

    def defaults(self) -> dict[str, Any]:
        """The default configuration, with only the parameters that are active in it."""
        params: dict[str, Any] = {}
        for parameter in self:
            if parameter.active(params):
                params[parameter.name] = parameter.default
        return params

    def _add(self, parameter: Parameter) -> None:
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


def _check_range(name: str, low: float, high: float, log: bool) -> None:
    if not low < high:
        raise ModelError(f"parameter {name!r}: low {low} must be below high {high}.")
    if log and low <= 0:
        raise ModelError(f"parameter {name!r}: a logarithmic range must begin above 0, not {low}.")


def _check_default(name: str, low: float, high: float, default: float) -> None:
    if not low <= default <= high:
        raise ModelError(f"parameter {name!r}: default {default} is outside [{low}, {high}].")

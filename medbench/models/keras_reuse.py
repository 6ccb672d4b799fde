"""Networks that fits take in turns: to compile one costs more than many epochs of a small one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

State = list[NDArray[Any]]
"""All that training changes: weights, statistics and the optimiser's memory, in order."""

_MOST_KEPT = 3
"""Networks that are kept compiled; a search moves between few, and each holds its graphs."""

_kept: OrderedDict[Hashable, SharedNetwork] = OrderedDict()


class SharedNetwork:
    """A compiled Keras model that several classifiers train and predict by, one after another.

    Each of them keeps a state of its own. Nothing of one reaches another, because whoever comes
    brings in a whole state: that of an untrained network by a seed, or its own.
    """

    def __init__(self, model: Any) -> None:
        """Take a compiled model that was never trained."""
        self.model = model
        self._untrained = snapshot(model)
        self._held: State | None = None

    def start(self, seed: int) -> None:
        """Become the untrained network of a seed, the same whatever was trained before."""
        random = np.random.default_rng(seed)
        state = list(self._untrained)
        for position, variable in enumerate(self.model.variables):
            if variable.trainable and len(variable.shape) > 1:
                state[position] = _drawn(variable.shape, random)
        restore(self.model, state)
        self._held = None

    def hold(self, state: State) -> Any:
        """The model in a state; it changes as soon as somebody trains it."""
        if self._held is not state:
            restore(self.model, state)
            self._held = state
        return self.model

    def take(self) -> State:
        """The state that training left, for whoever trained."""
        self._held = snapshot(self.model)
        return self._held

    def release(self) -> None:
        """Somebody begins to train: whatever state was held will be no more."""
        self._held = None


def shared_network(key: Hashable, build: Callable[[], Any]) -> SharedNetwork:
    """The network of a key, built and compiled where there is none yet in this process.

    Args:
        key: All that the model and its compilation depend on.
        build: Gives the compiled model.
    """
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key]
    while len(_kept) >= _MOST_KEPT:
        _kept.popitem(last=False)
    _kept[key] = SharedNetwork(build())
    return _kept[key]


def snapshot(model: Any) -> State:
    """All that training changes, in memory."""
    from keras import ops

    return [np.array(ops.convert_to_numpy(variable)) for variable in _variables(model)]


def restore(model: Any, state: State) -> None:
    """Bring a model back into the state of a snapshot."""
    for variable, value in zip(_variables(model), state, strict=True):
        variable.assign(value)


def _variables(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _drawn(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    """A kernel before training, whose outputs vary as its inputs do.

    Of convolutions, which a ReLU follows, by He et al. (2015), "Delving deep into rectifiers",
    ICCV; of a dense layer that ends the network without the factor for the ReLU.
    """
    gain = 2.0 if len(shape) > 2 else 1.0
    fan_in = int(np.prod(shape[:-1]))
    return random.normal(0, np.sqrt(gain / fan_in), shape).astype(np.float32)

"""A tuner: the defaults first, then configurations at random."""

import numpy as np

from medbench.models.space import Choice
from medbench.tuning.tuner import Suggestion, Tuner


class Random(Tuner):
    def suggest(self, finished, attempt):
        if not finished and attempt == 0:
            return Suggestion(params=self.space.defaults())
        random = np.random.default_rng([self.seed % 2**32, len(finished), attempt])
        params = {}
        for parameter in self.space:
            if not parameter.active(params):
                continue
            if isinstance(parameter, Choice):
                params[parameter.name] = parameter.options[random.integers(len(parameter.options))]
            else:
                drawn = random.uniform(parameter.low, parameter.high)
                params[parameter.name] = type(parameter.default)(drawn)
        return Suggestion(params=params)

"""A tuner: the defaults first, then configurations at random."""

import numpy as np

from medbench.tuning.tuner import Suggestion, Tuner


class Random(Tuner):
    def suggest(self, finished, attempt):
        if not finished and attempt == 0:
            return Suggestion(params=self.space.defaults())
        random = np.random.default_rng([self.seed, len(finished), attempt])
        return Suggestion(params=self.space.sample(random))

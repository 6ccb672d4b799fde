"""The contract of tuners fails where a tuner has one thing wrong."""

import itertools
import re

import numpy as np
import pytest

from medbench.testing import TunerContract, check_tuner
from medbench.tuning.tuner import Suggestion, Tuner

asked = itertools.count()


class Untried(Tuner):
    """Draws at random what was not tried."""

    prunes_itself = True

    def suggest(self, finished, attempt):
        return self.untried(finished, attempt)


def draws(**changed):
    """A tuner that draws at random and changes some parameters; ``changed`` may depend on them."""

    def suggest(self, finished, attempt):
        random = np.random.default_rng([self.seed, len(finished), attempt])
        params = self.space.sample(random)
        names = changed if "components" in params else {}
        return Suggestion(params=params | {n: v(params) for n, v in names.items()})

    return suggest


def repeats(self, finished, attempt):
    return Suggestion(params=self.space.defaults())


def remembers(self, finished, attempt):
    return Suggestion(params=self.space.sample(np.random.default_rng(next(asked))))


def gives_up(self, finished, attempt):
    failed = any(trial.score is None for trial in finished)
    return None if failed else self.untried(finished, attempt)


def trains_on_what_failed(self, finished, attempt):
    failed = [trial.number for trial in finished if trial.state == "failed"]
    if len(finished) != 4 or not failed:
        return self.untried(finished, attempt)
    return Suggestion(params=finished[failed[0]].params, resume_from=failed[0])


def trains_on_for_ever(self, finished, attempt):
    if len(finished) < 3:
        return self.untried(finished, attempt)
    last = finished[-1]
    step = last.last_step or 1
    return Suggestion(
        params=last.params, first_step=step, last_step=step + 1, resume_from=last.number
    )


def starts_over(self, finished, attempt):
    if len(finished) != 5:
        return self.untried(finished, attempt)
    return Suggestion(params=finished[0].params, last_step=9, resume_from=0)


def trains_for(steps):
    def suggest(self, finished, attempt):
        new = self.untried(finished, attempt)
        return new and Suggestion(params=new.params, last_step=steps)

    return suggest


WRONG = [
    ("suggestions", "components = 65; it takes a whole", draws(components=lambda params: 65)),
    ("suggestions", "components", draws(components=lambda params: np.int64(params["components"]))),
    ("suggestions", "gamma", draws(gamma=lambda params: 0.1)),
    ("suggestions", "ended after 1", repeats),
    ("resumption", "keep no state", remembers),
    ("failures", "ended after . configurations, of which three had failed", gives_up),
    ("failures", "is trained on, though it failed", trains_on_what_failed),
    ("exhaustion", "1 of 5 configurations", repeats),
    ("exhaustion", "it never ends", trains_on_for_ever),
    ("promotion", "not from the step where that ended", starts_over),
    ("promotion", "more than 3 of 27 steps", trains_for(3)),
    ("promotion", "goes from step 0 to 28", trains_for(28)),
]


def test_a_sound_tuner_keeps_the_contract():
    assert check_tuner(Untried) == ()


@pytest.mark.parametrize(("name", "message", "suggest"), WRONG)
def test_a_wrong_tuner_is_told_what_to_do(told, name, message, suggest):
    wrong = type("Wrong", (Untried,), {"suggest": suggest})
    assert re.search(message, told(TunerContract, f"test_{name}", tuner=wrong))


def test_a_tuner_that_keeps_no_state_of_a_fit_trains_nothing_on(told):
    wrong = type("Wrong", (Untried,), {"suggest": starts_over, "prunes_itself": False})
    assert "set prunes_itself" in told(TunerContract, "test_promotion", tuner=wrong)


def test_there_is_a_wrong_tuner_for_every_demand():
    assert {f"test_{name}" for name, *_ in WRONG} == set(TunerContract.names())

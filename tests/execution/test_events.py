"""What an attempt tells is checked before anything believes it."""

import pytest

from medbench.execution.events import (
    Fitted,
    NoMessageError,
    RefitBegan,
    TrialEnded,
    as_message,
    from_message,
    predicted,
)
from medbench.store import CellId

CELL = CellId(dataset="d", model="m", split="r0f0")
TRIAL = {"number": 0, "state": "complete", "params": {"depth": 3}, "score": 0.5, "at_seconds": 1.0}
FIT = {
    "params": {"depth": 3},
    "inner_score": 0.5,
    "n_trials": 1,
    "threshold": 0.5,
    "calibration": {"temperatures": [1.0], "reason": ""},
    "seconds": {"tuning": 1.0},
}
EVENTS = (
    TrialEnded(cell=CELL, record=TRIAL, oof=None, checkpoint=None),
    RefitBegan(cell=CELL),
    Fitted(cell=CELL, record=FIT),
)


@pytest.mark.parametrize("event", EVENTS)
def test_a_message_says_what_the_event_says(event):
    assert from_message(CELL, as_message(event)) == event


@pytest.mark.parametrize("event", EVENTS)
def test_a_message_that_lacks_something_or_has_something_else_is_none(event):
    message = as_message(event)
    for name in message:
        with pytest.raises(NoMessageError):
            from_message(CELL, {k: v for k, v in message.items() if k != name})
    for wrong in ({**message, "more": 1}, {**message, "event": "Outcome"}):
        with pytest.raises(NoMessageError):
            from_message(CELL, wrong)
    for name in message.get("record", ()):
        for value in ({}, "text", [[]]):
            record = {**message["record"], name: value}
            if record[name] == {} == {**message["record"]}[name] or name == "state":
                continue
            if name in ("params", "seconds") and value == {}:
                continue
            with pytest.raises(NoMessageError):
                from_message(CELL, {**message, "record": record})


@pytest.mark.parametrize(
    "message",
    [
        {"event": "predicted"},
        {"event": "predicted", "record": 1},
        {"event": "predicted", "record": {"seconds": "1"}},
        {"event": "predicted", "record": {"seconds": 1.0}, "more": 1},
        {"event": "Fitted", "record": {"seconds": 1.0}},
    ],
)
def test_what_says_nothing_of_a_prediction_is_no_message_of_one(message):
    with pytest.raises(NoMessageError):
        predicted(message)


def test_a_prediction_says_what_it_cost():
    assert predicted({"event": "predicted", "record": {"seconds": 1.5}}) == {"seconds": 1.5}

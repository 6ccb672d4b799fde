"""A family that notes every fit in the file ``NOTES``, is best after three steps, or trained on.

It takes as many seconds a step as ``STEP_SECONDS`` says, and cannot be saved while there is a file
``full``, as if the disk were full.
"""

import errno
import json
import os
import time
from pathlib import Path

import numpy as np

from medbench import Classifier, ModelFamily, register_model
from medbench.evaluation.metrics import auroc

STEPS = 12


class Noted(Classifier):
    max_steps = STEPS

    def __init__(self, params, task, context):
        self.weight, self.n_classes, self.seed = params["weight"], len(task.classes), context.seed
        self.fitted = [0, 0, 0]

    def fit(self, train, validation, progress):
        note = {"n": len(train), "validated": validation is not None}
        try:
            note["last"] = self.boost(validation, progress)
        finally:
            with Path(os.environ["NOTES"]).open("a") as notes:
                notes.write(json.dumps({**note, "fitted": self.fitted}) + "\n")

    def boost(self, validation, progress):
        best, seed = -1.0, self.seed % 1000
        for step in range(progress.first_step + 1, (progress.last_step or STEPS) + 1):
            time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
            before, self.fitted = self.fitted, [seed, step, progress.first_step]
            score = None
            if validation is not None:
                probabilities = self.predict_proba(validation)
                score = auroc(validation.labels, probabilities, self.n_classes)
                if score <= best:
                    self.fitted = before
                best = max(best, score)
            if not progress.report(step, score):
                break
        self.best_step = self.fitted[1]
        return step

    def predict_proba(self, batch):
        seed, step, trained_on = self.fitted
        signal = batch.images.mean(axis=(1, 2, 3)) / 255
        noise = np.random.default_rng([seed, step, len(batch)]).random(len(batch))
        less = 9 if trained_on else 1 + step * (step < 4)
        p = self.weight * signal + (1 - self.weight) * noise / less
        return np.column_stack([1 - p, p])

    def save(self, folder):
        if Path(os.environ["NOTES"]).with_name("full").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.checkpoint(folder)

    def checkpoint(self, folder):
        (folder / "fitted.json").write_text(json.dumps(self.fitted))

    def load(self, folder):
        self.fitted = json.loads((folder / "fitted.json").read_text())
        self.best_step = self.fitted[1]


@register_model("noted")
class NotedFamily(ModelFamily):
    """Brightness, with noise that depends on the seed and the step."""

    max_steps = STEPS

    def search_space(self, space, task):
        space.real("weight", 0.2, 0.8)

    def build(self, params, task, context):
        return Noted(params, task, context)

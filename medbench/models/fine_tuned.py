"""Fine-tuned InceptionV3: as ``inceptionv3``, and then its top block trained further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medbench.backbones import BACKBONES
from medbench.datasets.task import Task
from medbench.models.transfer import TransferFamily

_BACKBONE = "inceptionv3"
_LEARNING_RATES = (3e-5, 1e-4)


class FineTunedInceptionV3(TransferFamily):
    """Inception v3 as a feature extractor, then its top block fine-tuned if there is time.

    It is a family of its own, and none that runs by default: on a few hundred images the trained
    block was worse than the frozen one on images that it did not stop by, and was chosen all the
    same (``results/ablation.md``). With thousands of images and a GPU that may differ.
    """

    weights = _BACKBONE
    reference = BACKBONES[_BACKBONE].reference

    def refinements(self, params: Mapping[str, Any], task: Task) -> Sequence[Mapping[str, Any]]:
        """The same configuration on the deepest cut alone, its block trained at two rates.

        Of all cuts together a step of the top block would move a part of the features only, away
        from those beside it.
        """
        deepest = BACKBONES[_BACKBONE].cuts[-1].layer
        return [
            {**params, "cut": deepest, "fine_tune": "top block", "learning_rate": rate}
            for rate in _LEARNING_RATES
        ]

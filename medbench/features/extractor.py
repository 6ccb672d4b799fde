"""What turns images into vectors of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


class Extractor(ABC):
    """Turns images into vectors; equal ``key``, code and pixels give equal vectors.

    Best a frozen dataclass whose fields are its settings. What it computes is kept (see
    ``medbench.features.feature_cache``) until its settings, its code or the libraries it uses
    change.
    """

    parallel: ClassVar[bool] = False
    """True where several threads gain, as most of the work releases the interpreter's lock."""

    @property
    def key(self) -> str:
        """Names the extractor and its settings; other settings have another key."""
        return repr(self)

    @property
    def name(self) -> str:
        """What it computes, as it is shown."""
        return type(self).__name__.lower()

    @abstractmethod
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors of some images; that of an image does not depend on the others.

        Args:
            images: Prepared pixels, uint8, shape (n_images, height, width, channels).

        Returns:
            float32, shape (n_images, n_features).
        """

"""A data source: noise, with a bright square in every second image."""

import numpy as np
import pandas as pd

from medbench.datasets.listing import Listing
from medbench.datasets.sources.base import Source


class Squares(Source):
    source: str = "squares"
    images: int = 24
    image_size: int = 128  # it draws them, so it must know

    def list_images(self, found):
        labels = np.arange(self.images, dtype=np.int64) % 2
        table = pd.DataFrame(
            {
                "origin": [f"square-{i}" for i in range(self.images)],
                "slice": 1,
                "label": labels,
                "group": "",
                "split": "",
            }
        )
        return Listing(
            classes=("plain", "square"),
            table=table,
            read=self.draw,
            signature=f"squares {self.images} {self.image_size}",
        )

    def draw(self, i):
        side = self.image_size
        pixels = np.random.default_rng(i).integers(0, 120, (side, side), dtype=np.uint8)
        if i % 2:
            pixels[side // 3 : -side // 3, side // 3 : -side // 3] = 220
        return pixels

"""The embeddings of expert.py, at all depths side by side, in a file for the tabular systems.

It is asked as all systems are (``asked.py``); ``embeddings`` is the file to be written.
"""

import json
import sys

import numpy as np
from asked import Asked
from expert import embed


def main():
    """Embed all images and write them, float32, shape (n, columns)."""
    asked = Asked()
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
        target = json.load(file)["embeddings"]
    np.save(target, np.hstack(embed(asked.images(), asked.weights)))


if __name__ == "__main__":
    main()

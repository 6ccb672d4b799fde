"""A tiny data set of drawn images in files, on which everything is shown to work."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from medbench.datasets.sources.phantoms import PhantomSource

NAME = "tiny"
_PATIENTS, _SIDE = 24, 48


def write(folder: Path) -> Path:
    """Write the images, a folder a class, and the catalog that names them; its path."""
    source = PhantomSource(patients=_PATIENTS, image_size=_SIDE, difficulty=0.0)
    listing = source.listing()
    for row in listing.table.itertuples():
        of_class = folder / NAME / listing.classes[row.label]
        of_class.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.draw(row.Index)).save(of_class / f"{row.Index:03d}.png")
    catalog = folder / "datasets.yaml"
    catalog.write_text(
        f"{NAME}:\n  source: folder\n  path: {NAME}\n  classes: {list(listing.classes)}\n"
        f"  image_size: {_SIDE}\n  channels: grey\n"
    )
    return catalog

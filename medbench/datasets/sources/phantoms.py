"""Synthetic images drawn on the spot, so that everything runs without a download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field, model_validator

from medbench.counts import LARGEST_SEED, MOST_IMAGES
from medbench.datasets.listing import Listing
from medbench.datasets.sources.base import Source
from medbench.hashes import sha256_of_text

Modality = Literal["mr", "chest"]
Floats = NDArray[np.float64]

CLASSES: dict[Modality, tuple[str, str]] = {
    "mr": ("healthy", "lesion"),
    "chest": ("clear", "opacity"),
}
"""Class names of a modality; the second one has the lesion."""
KINDS = ("bright", "dark", "ring", "double")
"""Class names of kinds of lesion, where each is a class; the only kind otherwise is the first."""

_MR_STRENGTH = 0.29
_CHEST_STRENGTH = 0.30
"""Brightness that an average lesion adds at difficulty 0.5, where white is 1; chosen so that a
small convolutional network reaches a grouped AUROC of about .9 on 100 patients of 3 images."""
_STREAMS: dict[Modality, int] = {"mr": 1, "chest": 2}
_BLOCK, _PATIENT, _IMAGE = 0, 1, 2
"""Begin the keys of the random streams; see ``PhantomSource._stream``."""


class PhantomSource(Source):
    """Synthetic patients with several synthetic images each; no real person was ever imaged.

    ``mr`` draws slices after the head of Shepp & Logan (1974), and half of the patients have a
    bright focus in the brain. ``chest`` draws films with ribs, heart and vessels, and half of
    the patients have a soft opacity in a lung. With ``kinds: 4`` a fifth of the patients has none,
    and each other fifth a lesion that is brighter than its surroundings, darker, a ring, or there
    on both sides. The class belongs to the patient. Everything but
    the lesion comes from the same random draws whatever the class, so that nothing else tells
    the classes apart; the file properties are constant.

    An image depends on the settings of its drawing, its patient and its place among that
    patient's images: more patients, or more images of each, leave it as it is.

    Source: L. A. Shepp and B. F. Logan (1974), "The Fourier reconstruction of a head section",
    IEEE Transactions on Nuclear Science 21(3); noise after H. Gudbjartsson and S. Patz (1995),
    "The Rician distribution of noisy MRI data", Magnetic Resonance in Medicine 34(6).
    """

    synthetic: ClassVar[bool] = True

    source: Literal["phantoms"] = "phantoms"
    image_size: int = Field(default=64, ge=32, le=1024)
    """Side in pixels at which images are drawn."""
    modality: Modality = "mr"
    """What the images imitate."""
    patients: int = Field(default=100, ge=2, le=1_000_000)
    """Number of synthetic patients; the classes have as many each, to within one."""
    images_per_patient: int = Field(default=3, ge=1, le=10_000)
    """Images of each patient."""
    difficulty: float = Field(default=0.5, ge=0, le=1)
    """From 0 (the lesion is plain) to 1 (a third as strong, hard to see)."""
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    """Another seed draws other patients."""
    kinds: Literal[1, 4] = 1
    """Kinds of lesion, each a class beside that without."""

    @model_validator(mode="after")
    def _check_images(self) -> PhantomSource:
        n_images = self.patients * self.images_per_patient
        if n_images > MOST_IMAGES:
            raise ValueError(
                f"{n_images:,} images (patients times images_per_patient) are above the limit of "
                f"{MOST_IMAGES:,}"
            )
        return self

    @property
    def orders_classes(self) -> bool:
        """The second class has the lesion, as it is drawn."""
        return True

    def list_images(self, found: Mapping[str, Path]) -> Listing:
        """All images; each is drawn when it is read."""
        drawn = [
            (patient, image)
            for patient in range(self.patients)
            for image in range(self.images_per_patient)
        ]
        table = pd.DataFrame(
            {
                "origin": [
                    f"synthetic-{self.modality}/patient-{patient + 1:04d}/image-{image + 1}"
                    for patient, image in drawn
                ],
                "slice": 1,
                "label": np.array([self._lesion_of(p) for p, _ in drawn], dtype=np.int64),
                "group": [f"patient-{patient + 1:04d}" for patient, _ in drawn],
                "split": "",
            }
        )
        drawn_from = (
            self.modality,
            self.patients,
            self.images_per_patient,
            self.difficulty,
            self.seed,
            self.image_size,
            self.kinds,
        )
        without, lesion = CLASSES[self.modality]
        return Listing(
            classes=(without, *(KINDS if self.kinds > 1 else (lesion,))),
            table=table,
            read=self.draw,
            signature=sha256_of_text(drawn_from),
        )

    def draw(self, i: int) -> NDArray[np.uint8]:
        """Image i, uint8, shape (image_size, image_size)."""
        return self._render(i)[0]

    def lesion_mask(self, i: int) -> NDArray[np.bool_]:
        """Where the lesion of image i has at least half of its strength.

        Returns:
            bool, shape (image_size, image_size); all False where the patient has no lesion.
        """
        return self._render(i)[1]

    def _render(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        count = self.patients * self.images_per_patient
        if not 0 <= i < count:
            raise IndexError(f"image {i} is not one of 0..{count - 1}")
        patient, image = divmod(i, self.images_per_patient)
        lesion = self._lesion_of(patient)
        render = _render_mr if self.modality == "mr" else _render_chest
        film, profile = render(
            self._stream(_PATIENT, patient),
            self._stream(_IMAGE, patient, image),
            self.image_size,
            (1.5 - self.difficulty) * (lesion > 0),
            KINDS[max(lesion - 1, 0)],
        )
        pixels = np.clip(np.rint(film * 255), 0, 255).astype(np.uint8)
        return pixels, (profile >= 0.5) & (lesion > 0)

    def _lesion_of(self, patient: int) -> int:
        """0 for none, else 1 and the place of its kind in ``KINDS``.

        Each of as many successive patients as there are classes has another one, so that any number
        of patients is balanced; which, is drawn.
        """
        if self.kinds == 1:
            first = self._stream(_BLOCK, patient // 2).random() < 0.5
            return int(first == (patient % 2 == 0))
        block, place = divmod(patient, 1 + self.kinds)
        return int(self._stream(_BLOCK, block).permutation(1 + self.kinds)[place])

    def _stream(self, *key: int) -> Generator:
        """The random numbers of some successive patients, one patient or one image."""
        spawn_key = (_STREAMS[self.modality], *key)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=spawn_key))


@dataclass(frozen=True, kw_only=True)
class _Lesion:
    """A soft elliptic spot in body coordinates, the same one in all images of a patient."""

    u: float
    v: float
    radius: float
    aspect: float
    angle: float
    strength: float
    kind: str

    def again(self, rng: Generator) -> _Lesion:
        """The spot as one image shows it: slightly moved, larger or smaller, fainter or not."""
        return replace(
            self,
            u=self.u + rng.normal(0, 0.01),
            v=self.v + rng.normal(0, 0.01),
            radius=self.radius * rng.uniform(0.88, 1.12),
            strength=self.strength * rng.uniform(0.8, 1.2),
        )

    @property
    def brightness(self) -> float:
        """What its heart adds to an image, as a part of what lesions add on average."""
        return -self.strength if self.kind == "dark" else self.strength

    def profile(self, u: Floats, v: Floats) -> Floats:
        """1 at the heart of the spot (0 in that of a ring), 0.5 on its rim, 0 outside."""
        spot = self._spot(u, v)
        if self.kind == "ring":
            return spot - replace(self, radius=self.radius / 2)._spot(u, v)
        return np.maximum(spot, self._spot(-u, v)) if self.kind == "double" else spot

    def _spot(self, u: Floats, v: Floats) -> Floats:
        du, dv = u - self.u, v - self.v
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        along = (cos * du + sin * dv) * self.aspect
        across = (cos * dv - sin * du) / self.aspect
        return _inside(1 - np.hypot(along, across) / self.radius, 0.15)


def _render_mr(
    patient: Generator, image: Generator, size: int, contrast: float, kind: str
) -> tuple[Floats, Floats]:
    """A synthetic head slice and the profile of its lesion, both float64 (size, size)."""
    levels = np.zeros(11)
    levels[0] = patient.uniform(0.10, 0.25)  # ventricles
    levels[2] = patient.uniform(0.42, 0.50)  # white matter
    levels[3] = patient.uniform(0.40, 0.85)  # a round normal structure, as bright as a lesion
    levels[1] = levels[4] = patient.uniform(0.35, 0.60)  # small spots
    levels[10] = patient.uniform(0.45, 0.80)  # scalp
    folds = _field(patient, 22, 256)
    patches = _field(patient, 9, 256)
    cortex_depth, cortex_drop = patient.uniform(0.14, 0.24), patient.uniform(0.08, 0.14)
    angle, away = patient.uniform(-0.1, 1.1) * np.pi, 0.65 * np.sqrt(patient.random())
    lesion = _Lesion(
        u=0.6624 * away * np.cos(angle),
        v=0.874 * away * np.sin(angle),
        radius=patient.uniform(0.13, 0.22),
        aspect=patient.uniform(0.8, 1.25),
        angle=patient.uniform(0, np.pi),
        strength=patient.uniform(0.7, 1.3),
        kind=kind,
    ).again(image)
    # Drawn twice as fine and averaged, because tissues have hard borders.
    u, v = _body_coordinates(patient, image, 2 * size, fit=0.95)

    slice_ = levels[_shepp_logan()[_cell(v, 400), _cell(u, 400)]]
    skull = np.hypot(u / 0.6624, (v + 0.0184) / 0.874)
    ribbon = _inside(skull - 1 + cortex_depth + 0.07 * folds[_cell(v, 256), _cell(u, 256)], 0.02)
    brain = _inside(0.93 - skull, 0.01)
    slice_ = slice_ - cortex_drop * ribbon * brain
    slice_ += (0.02 * brain + 0.15 * (skull > 1)) * patches[_cell(v, 256), _cell(u, 256)]
    slice_[(skull > 0.94) & (skull < 1)] = 0.08  # bone gives no signal
    slice_[np.hypot(u / 0.69, v / 0.92) > 1] = 0.0
    profile = lesion.profile(u, v) * brain
    slice_ += _MR_STRENGTH * contrast * lesion.brightness * profile

    slice_, profile = _halve(slice_), _halve(profile)
    slice_ *= image.uniform(0.8, 1.2) * np.exp(0.12 * _field(image, 3, size))
    noise = image.normal(0, image.uniform(0.02, 0.05), (2, size, size))
    return np.hypot(slice_ + noise[0], noise[1]), profile


def _render_chest(
    patient: Generator, image: Generator, size: int, contrast: float, kind: str
) -> tuple[Floats, Floats]:
    """A synthetic chest film and the profile of its lesion, both float64 (size, size)."""
    side = -1 if patient.random() < 0.5 else 1
    angle, away = patient.uniform(0, 2 * np.pi), 0.7 * np.sqrt(patient.random())
    opacity = _Lesion(
        u=side * 0.44 + 0.26 * away * np.cos(angle),
        v=-0.12 + 0.48 * away * np.sin(angle),
        radius=patient.uniform(0.15, 0.25),
        aspect=patient.uniform(0.8, 1.25),
        angle=patient.uniform(0, np.pi),
        strength=patient.uniform(0.7, 1.3),
        kind=kind,
    ).again(image)
    vessels = _field(patient, 26, 256)
    haze = _field(patient, 8, 256)
    u, v = _body_coordinates(patient, image, size, fit=1.0)
    cells = _cell(v, 256), _cell(u, 256)
    breath = image.normal(0, 0.025)

    body, lungs, heart = _torso(patient, u, v, breath)
    bones = _bones(patient, u, v)
    hilum = np.exp(-(((np.abs(u) - 0.22) / 0.22) ** 2) - ((v - 0.02) / 0.35) ** 2)
    marks = (0.02 + 0.06 * hilum) * vessels[cells] + 0.03 * haze[cells] + 0.12 * hilum
    air = lungs * (1 - 0.9 * heart)
    profile = opacity.profile(u, v) * lungs * (1 - 0.6 * heart)
    film = body * (patient.uniform(0.62, 0.70) + bones) + air * (
        marks - patient.uniform(0.34, 0.46)
    )
    film += _CHEST_STRENGTH * contrast * opacity.brightness * profile

    slope = image.normal(0, 0.04, 2)
    film = np.clip(film + slope[0] * u + slope[1] * v, 0.02, None)
    film = image.uniform(0.85, 1.1) * film ** image.uniform(0.75, 1.35)
    return film + image.normal(0, image.uniform(0.015, 0.035), (size, size)), profile


def _torso(
    patient: Generator, u: Floats, v: Floats, breath: float
) -> tuple[Floats, Floats, Floats]:
    """How far each point lies in the body, the lungs and the heart, 0 to 1."""
    neck, width = patient.uniform(0.24, 0.32), patient.uniform(0.58, 0.68)
    half = neck + width * _inside(v + 0.80 + 0.15 * (np.abs(u) - 0.5), 0.05) + 0.04 * v
    body = _inside(half - np.abs(u), 0.02)
    lungs = np.zeros_like(u)
    for side in (-1, 1):
        centre = side * patient.uniform(0.42, 0.46)
        reach = np.hypot(
            (u - centre) / patient.uniform(0.27, 0.32), (v + 0.05) / patient.uniform(0.62, 0.70)
        )
        dome = patient.normal(0.40 if side < 0 else 0.45, 0.03) + breath
        floor = dome + 1.6 * (u - centre) ** 2 - v
        lungs += _inside(1 - reach, 0.05) * _inside(floor, 0.02)
    middle = _inside(patient.uniform(0.13, 0.17) + 0.04 * v - np.abs(u - 0.02), 0.025)
    heart = np.hypot(
        (u - patient.uniform(0.11, 0.16)) / patient.uniform(0.28, 0.36), (v - 0.26) / 0.27
    )
    return body, lungs, np.maximum(_inside(1 - heart, 0.07), middle)


def _bones(patient: Generator, u: Floats, v: Floats) -> Floats:
    """Brightness that ribs, clavicles and spine add."""
    across = np.abs(u)
    cage = _inside(1 - np.hypot(u / 0.80, (v + 0.02) / 0.82), 0.04)
    gap, start = patient.uniform(0.15, 0.18), patient.uniform(0, 1)
    behind = (v - 0.30 * across**1.5) / gap + start
    front = (v + 0.55 * (across - 0.3)) / gap + start
    ribs = 0.10 * _stripes(behind, 0.17) + 0.05 * _stripes(front, 0.17) * (across > 0.25)
    collar = np.exp(-(((v + 0.62 + 0.20 * across) / 0.028) ** 2)) * _inside(0.68 - across, 0.03)
    spine = _inside(0.085 - across, 0.015) * (0.10 + 0.03 * np.cos(2 * np.pi * v / 0.19))
    strength = patient.uniform(0.8, 1.2)
    return strength * (ribs * cage * _inside(across - 0.06, 0.03) + 0.12 * collar + spine)


def _body_coordinates(
    patient: Generator, image: Generator, size: int, *, fit: float
) -> tuple[Floats, Floats]:
    """Where each pixel lies in the body, -1..1 from left to right and from top to bottom.

    A patient has a position, a size and proportions; each image turns and moves it a little
    and deforms it smoothly.
    """
    axis = (np.arange(size) + 0.5) * (2 / size) - 1
    x, y = np.meshgrid(axis, axis)
    turn = np.deg2rad(patient.normal(0, 3) + image.normal(0, 1.5))
    scale = fit * patient.uniform(0.90, 1.0) * image.uniform(0.98, 1.02)
    stretch = patient.uniform(0.95, 1.05)
    x = x - patient.normal(0, 0.025) - image.normal(0, 0.015)
    y = y - patient.normal(0, 0.025) - image.normal(0, 0.015)
    cos, sin = np.cos(turn), np.sin(turn)
    u = (cos * x + sin * y) / (scale * stretch) + 0.015 * _field(image, 5, size)
    v = (cos * y - sin * x) / scale * stretch + 0.015 * _field(image, 5, size)
    return u, v


def _field(rng: Generator, cells: int, size: int) -> Floats:
    """Smooth noise of unit variance, about ``cells`` bumps across, shape (size, size)."""
    weights = _bumps(cells, size)
    return weights @ rng.normal(size=(cells, cells)) @ weights.T


@lru_cache(maxsize=64)
def _bumps(cells: int, size: int) -> Floats:
    """Gaussian weights of ``cells`` knots at ``size`` points; rows have unit length."""
    points = (np.arange(size) + 0.5) / size * cells - 0.5
    weights = np.exp(-(((points[:, None] - np.arange(cells)) / 0.7) ** 2) / 2)
    normed: Floats = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    return normed


@lru_cache(maxsize=1)
def _shepp_logan() -> NDArray[np.uint8]:
    """The grey levels of the phantom of scikit-image in tenths, uint8, shape (400, 400)."""
    from skimage.data import shepp_logan_phantom

    tenths: NDArray[np.uint8] = np.rint(10 * shepp_logan_phantom()).astype(np.uint8)
    return tenths


def _cell(coordinate: Floats, cells: int) -> NDArray[np.intp]:
    """Index of the cell of a table over -1..1 that a coordinate falls into."""
    return np.clip((coordinate + 1) / 2 * cells, 0, cells - 1).astype(np.intp)


def _inside(depth: Floats, softness: float) -> Floats:
    """0 outside, 0.5 on the border, 1 inside, over about four times ``softness``."""
    return 0.5 + 0.5 * np.tanh(depth / (2 * softness))


def _stripes(phase: Floats, width: float) -> Floats:
    """A soft stripe at every whole number, ``width`` as a share of the distance."""
    return np.exp(-(((phase - np.rint(phase)) / width) ** 2))


def _halve(picture: Floats) -> Floats:
    """Mean of each 2 x 2 block."""
    side = len(picture) // 2
    halved: Floats = picture.reshape(side, 2, side, 2).mean(axis=(1, 3))
    return halved

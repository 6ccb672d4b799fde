"""Phantoms: reproducible, balanced, and with nothing but the lesion telling the classes apart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medbench.datasets.sources.phantoms import CLASSES, KINDS, PhantomSource

MODALITIES = ["mr", "chest"]
modalities = pytest.mark.parametrize("modality", MODALITIES)


def source(modality: Any, **settings: Any) -> PhantomSource:
    return PhantomSource(modality=modality, **{"patients": 6, "image_size": 48, **settings})


@cache
def sample(modality: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels and groups of 120 patients with one image each."""
    phantoms = source(modality, patients=120, images_per_patient=1, image_size=32)
    table = phantoms.listing().table
    images = np.stack([phantoms.draw(i) for i in range(len(table))]).astype(float)
    return images, table["label"].to_numpy(), table["group"].to_numpy()


def separability(modality: Any, features: np.ndarray) -> float:
    """AUROC of a logistic regression over five folds of patients."""
    _, labels, groups = sample(modality)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    scores = cross_val_predict(
        model, features, labels, groups=groups, cv=folds, method="decision_function"
    )
    return float(roc_auc_score(labels, scores))


@modalities
def test_the_same_seed_draws_the_same_image_twice(modality: str) -> None:
    one, two = source(modality, seed=3), source(modality, seed=3)
    np.testing.assert_array_equal(one.draw(4), two.draw(4))
    np.testing.assert_array_equal(one.lesion_mask(4), two.lesion_mask(4))
    assert one.listing().signature == two.listing().signature
    assert one.listing().table.equals(two.listing().table)


@modalities
def test_another_seed_draws_other_images(modality: str) -> None:
    one, two = source(modality, seed=3), source(modality, seed=4)
    assert (one.draw(0) != two.draw(0)).mean() > 0.3
    assert one.listing().signature != two.listing().signature


@modalities
def test_more_patients_or_images_leave_an_image_as_it_is(modality: str) -> None:
    few = source(modality, patients=4, images_per_patient=2)
    many = source(modality, patients=9, images_per_patient=5)
    for patient in range(4):
        for image in range(2):
            np.testing.assert_array_equal(
                few.draw(patient * 2 + image), many.draw(patient * 5 + image)
            )


@modalities
def test_order_and_threads_do_not_change_an_image(modality: str) -> None:
    phantoms = source(modality)
    one_by_one = [phantoms.draw(i) for i in range(18)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(phantoms.listing().read, reversed(range(18))))
    np.testing.assert_array_equal(one_by_one, together[::-1])


@modalities
@pytest.mark.parametrize("patients", [2, 7, 50])
def test_classes_are_balanced_over_patients(modality: str, patients: int) -> None:
    table = source(modality, patients=patients, images_per_patient=1).listing().table
    assert abs(2 * int(table["label"].sum()) - patients) <= 1


@modalities
def test_all_images_of_a_patient_share_the_class(modality: str) -> None:
    listing = source(modality, patients=20, images_per_patient=3).listing()
    by_patient = listing.table.groupby("group")["label"]
    assert (by_patient.size() == 3).all()
    assert (by_patient.nunique() == 1).all()
    assert listing.classes == CLASSES[modality]  # type: ignore[index]
    assert listing.table["origin"].is_unique
    assert listing.table["origin"].str.startswith("synthetic-").all()
    assert (listing.table["split"] == "").all()


@modalities
def test_images_of_a_patient_differ_but_resemble_each_other(modality: str) -> None:
    phantoms = source(modality, patients=12)
    images = np.stack([phantoms.draw(i) for i in range(36)]).reshape(36, -1).astype(float)
    alike = np.corrcoef(images)
    patient = np.arange(36) // 3
    same = (patient[:, None] == patient) & ~np.eye(36, dtype=bool)
    assert alike[same].max() < 0.9999
    assert alike[same].mean() > alike[patient[:, None] != patient].mean()


@modalities
def test_the_lesion_lies_inside_the_frame_of_positive_patients_only(modality: str) -> None:
    phantoms = source(modality, patients=60, images_per_patient=2)
    for i, label in enumerate(phantoms.listing().table["label"]):
        mask = phantoms.lesion_mask(i)
        assert mask.shape == (48, 48)
        assert mask.any() == bool(label)
        assert mask.mean() < 0.15
        edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert not edge.any()


@modalities
def test_the_difficulty_changes_nothing_away_from_the_lesion(modality: str) -> None:
    plain, faint = source(modality, difficulty=0.0), source(modality, difficulty=1.0)
    for i, label in enumerate(plain.listing().table["label"]):
        difference = plain.draw(i).astype(float) - faint.draw(i)
        if not label:
            assert not difference.any()
            continue
        mask = plain.lesion_mask(i)
        assert difference[mask].mean() > 10
        around = np.abs(np.indices(mask.shape) - np.argwhere(mask).mean(0)[:, None, None]).max(0)
        assert np.abs(difference[around > 18]).max() <= 1


@modalities
def test_images_are_uint8_of_one_shape_and_not_saturated(modality: str) -> None:
    images, _, _ = sample(modality)
    assert images.shape == (120, 32, 32)
    assert source(modality).draw(0).dtype == np.uint8
    assert images.std(axis=(1, 2)).min() > 15
    assert (images == 255).mean() < 0.05


@modalities
def test_border_pixels_do_not_tell_the_class(modality: str) -> None:
    images, _, _ = sample(modality)
    inner = np.zeros((32, 32), bool)
    inner[2:-2, 2:-2] = True
    assert 0.35 < separability(modality, images[:, ~inner]) < 0.65


@modalities
def test_mean_and_spread_of_intensity_hardly_tell_the_class(modality: str) -> None:
    images, _, _ = sample(modality)
    features = np.stack([images.mean(axis=(1, 2)), images.std(axis=(1, 2))], axis=1)
    assert separability(modality, features) < 0.68


@modalities
def test_the_lesion_itself_tells_the_class(modality: str) -> None:
    """An observer who knows where to look finds it brighter than the same place elsewhere."""
    phantoms = source(modality, patients=60, images_per_patient=1)
    labels = phantoms.listing().table["label"].to_numpy()
    images = np.stack([phantoms.draw(i) for i in range(60)]).astype(float)
    excess = []
    for i in np.flatnonzero(labels):
        mask = phantoms.lesion_mask(int(i))
        excess.append(images[i][mask].mean() - images[labels == 0][:, mask].mean())
    assert np.mean(np.array(excess) > 0) > 0.75


@modalities
def test_each_kind_of_lesion_is_a_class_of_its_own_and_looks_like_it(modality: str) -> None:
    phantoms = source(modality, kinds=4, patients=50, images_per_patient=1, image_size=64)
    listing = phantoms.listing()
    assert listing.classes == (CLASSES[modality][0], *KINDS)  # type: ignore[index]
    labels = listing.table["label"].to_numpy()
    assert np.bincount(labels).tolist() == [10] * 5
    usual = np.mean([phantoms.draw(i) for i in np.flatnonzero(labels == 0)], axis=0)
    brighter, pieces, holes = {}, {}, {}
    for kind, name in enumerate(KINDS, start=1):
        rows = np.flatnonzero(labels == kind).tolist()
        masks = [phantoms.lesion_mask(i) for i in rows]
        difference = [
            (phantoms.draw(i) - usual)[mask].mean() for i, mask in zip(rows, masks, strict=True)
        ]
        brighter[name] = np.mean(difference)
        pieces[name] = np.mean([ndimage.label(mask)[1] for mask in masks])
        holes[name] = np.mean([(ndimage.binary_fill_holes(mask) & ~mask).any() for mask in masks])
    assert brighter["dark"] < -10 and min(brighter[n] for n in KINDS if n != "dark") > 5
    assert pieces["double"] > 1.5 and pieces["bright"] == pieces["dark"] == 1
    assert holes["ring"] > 0.5 and holes["bright"] == holes["dark"] == 0


def test_an_image_that_is_not_there_is_refused() -> None:
    with pytest.raises(IndexError, match=r"0\.\.17"):
        source("mr").draw(18)
    with pytest.raises(IndexError):
        source("mr").draw(-1)


@pytest.mark.parametrize(
    "wrong", [{"patients": 1}, {"difficulty": 2}, {"kinds": 3}, {"modality": "ct"}]
)
def test_settings_that_cannot_be_drawn_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PhantomSource(**wrong)

"""Fitted scikit-learn models on disk, without pickle and with a fixed list of allowed types."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from medbench.errors import ModelError
from medbench.opening import MODEL, open_regular
from medbench.packed import BROKEN_CONTENT, open_zip

TRUSTED_TYPES = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.tree._tree.Tree",
)
"""Types a model file may hold beyond those that skops trusts by itself.

Written here by hand and never taken from the file: a file must not say what may be loaded.
"""


def save_sklearn(model: Any, path: Path) -> None:
    """Write a fitted scikit-learn estimator to one skops file.

    Args:
        model: An estimator built of types that ``load_sklearn`` accepts.
        path: The file to write, by custom ``*.skops``.
    """
    import skops.io

    # The quickest level: trees become a seventh, and less is gained by more.
    skops.io.dump(model, path, compression=zipfile.ZIP_DEFLATED, compresslevel=1)


def load_sklearn(path: Path) -> Any:
    """The estimator in a file that ``save_sklearn`` wrote.

    Raises:
        ModelError: The file is damaged, too large (packed or unpacked), or holds a type that is
            not on the list; nothing of it is constructed then.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        with open_zip(path, MODEL), open_regular(path, MODEL) as file:
            return skops.io.load(file, trusted=list(TRUSTED_TYPES))
    except UntrustedTypesFoundException as error:
        raise ModelError(
            f"{path.name}: not loaded, because it holds types that MedBench does not write: "
            f"{str(error).splitlines()[0]} Do not use this file unless you know where it is from."
        ) from error
    except BROKEN_CONTENT as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise ModelError(
            f"{path.name}: not a model that MedBench wrote, or damaged ({why})."
        ) from error

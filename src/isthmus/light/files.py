"""A detector in NumPy, straight from its model file: neither torch nor scikit-learn is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus import storage
from isthmus.light.activations import Floats
from isthmus.light.model import UNFIT, LightModel


@dataclass(frozen=True)
class LightDetector:
    """A fitted `AnomalyDetector` that is a plain dense model of number columns.

    Parameters
    ----------
    model : its autoencoder.
    threshold : the score above which a row is odd, in nats.
    """

    model: LightModel
    threshold: float

    def scores(self, values: Floats) -> Floats:
        """The distortion of rows (n, n_features) in the data's own units, (n,). Raises DataError."""
        return self.model.read(values, self.model.distortion)


def read_detector(path: str, class_name: str = "AnomalyDetector") -> LightDetector | None:
    """The detector in this file; None where the file holds anything else, or what only torch can apply.

    Raises
    ------
    ModelFileError, StorageError : where the file is no whole, undamaged model, as `storage.load` does.
    """
    document = storage.read_document(path)
    fitted = _under(document, "fitted")
    if document.get("class") != class_name or _under(fitted, "autoencoder").get("outline") is None:
        return None
    _, arrays = storage.load_arrays(path)
    own = {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith("autoencoder.")}
    try:
        threshold = _under(fitted, "own")["threshold"]
        if not isinstance(threshold, float):
            return None
        return LightDetector(LightModel(fitted["autoencoder"], own, class_name), threshold)
    except UNFIT:
        return None


def _under(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A file comes from a stranger and may hold anything."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}

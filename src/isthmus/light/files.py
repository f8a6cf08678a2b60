"""A detector in NumPy, straight from its model file: neither torch nor scikit-learn is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus import storage
from isthmus.light.activations import Floats
from isthmus.light.model import UNFIT, LightModel
from isthmus.light.scores import LightPanel


@dataclass(frozen=True)
class LightDetector:
    """A fitted `AnomalyDetector` that is a plain dense model of number columns.

    Parameters
    ----------
    model : its autoencoder.
    threshold : the score above which a row is odd, in nats.
    calibration : scores of usual rows that were kept out of training; None where none were.
    panel : what scores rows; None for the bare distortion.
    """

    model: LightModel
    threshold: float
    panel: LightPanel | None = None
    calibration: Floats | None = None

    def scores(self, values: Floats) -> Floats:
        """How odd rows (n, n_features) in the data's own units are, (n,). Raises DataError."""
        return self.model.read(values, self.model.distortion) if self.panel is None else self.panel(values)

    def reason(self, values: Floats, n_reasons: int) -> str:
        """In words, what makes one row (n_features,) odd."""
        return self.model.reason(values, n_reasons, None if self.panel is None else self.panel.explained(values))


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
    try:
        own = _under(fitted, "own")
        threshold, panel = own["threshold"], own.get("panel")
        if not isinstance(threshold, float):
            return None
        model = LightModel(fitted["autoencoder"], _arrays(arrays, "autoencoder"), class_name)
        if panel is None:
            return LightDetector(model, threshold, None, arrays.get("own.calibration"))
        learned = _arrays(arrays, "own.panel")
        others = [
            LightModel(other["fitted"], _arrays(learned, f"{place}.autoencoder"), class_name)
            for place, other in enumerate(panel["others"], 1)
        ]
        return LightDetector(
            model, threshold, LightPanel([model, *others], panel, learned), arrays.get("own.calibration")
        )
    except UNFIT:
        return None


def _arrays(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name[len(prefix) + 1 :]: array for name, array in arrays.items() if name.startswith(f"{prefix}.")}


def _under(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A file comes from a stranger and may hold anything."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}

"""The two examinations: of the data and the untrained module, and of the trained one with its history."""

from __future__ import annotations

import torch

from isthmus.data.base import Data
from isthmus.doctor._columns import of_columns, of_rows
from isthmus.doctor._gradients import of_first_step
from isthmus.doctor._history import of_history
from isthmus.doctor._module import of_module, of_width
from isthmus.doctor._pca import beside_pca
from isthmus.doctor._range import of_range
from isthmus.doctor.base import Finding
from isthmus.module import AutoencoderModule
from isthmus.training import Batch, History, Training

LONG = 20  # epochs, from which on a network may be held to what it has learned
ENOUGH = 200  # rows, likewise
OF_SAMPLES = {"exploding_gradients", "identity", "mean_only"}  # hold the output against the samples


def before_training(
    data: Data, some: Batch, module: object, n_rows: int, training: Training | None = None
) -> list[Finding]:
    """What can be said beforehand: columns, gaps, range, number of rows, size of the code, gradients, cost.

    Parameters
    ----------
    data : the data type, fitted.
    some : some of the training rows.
    module : the untrained module.
    n_rows : how many training rows there are.
    training : the settings, for what the whole will cost; None leaves that out.
    """
    findings = [*of_columns(getattr(data, "schema", [])), *of_rows(n_rows, data)]
    if isinstance(module, AutoencoderModule):
        findings += [*of_range(some, module, data.name()), *(of_width(module) if some.target is None else ())]
        if not any("range" in finding.code for finding in findings):
            findings += of_first_step(module, some, n_rows, training)
    return _meant(findings, module)


def after_training(module: object, some: Batch, history: History) -> list[Finding]:
    """What the trained module and its history tell: identity, mean-only output, dead units, collapse, a code too large
    or too small, over- and underfitting, losses that jump, a critic that has won.
    """
    spoiled = isinstance(module, AutoencoderModule) and any(one.changes("corrupt") for one in module.variants)
    # damage drawn anew moves the loss by itself
    findings = [one for one in of_history(history) if not (spoiled and one.code == "unstable")]
    if isinstance(module, AutoencoderModule) and len(some.x) > 1:
        device = next(module.parameters()).device
        some = some.to(device)
        with torch.inference_mode():
            done = module.reconstruct(some.x, some.weight, target=some.target)
            findings += of_module(module, some, done)
            settled = not {"underfitting", "diverged", "mean_only", "unstable"} & {one.code for one in findings}
            if settled and len(history) >= LONG and len(some.x) >= ENOUGH:
                findings += beside_pca(module, some, done)
    return _meant(findings, module)


def _meant(findings: list[Finding], module: object) -> list[Finding]:
    """Without what is meant for outputs that are to be the samples, where something else is asked for."""
    asked = isinstance(module, AutoencoderModule) and any(variant.retargets() for variant in module.variants)
    return [one for one in findings if not (asked and one.code in OF_SAMPLES)]

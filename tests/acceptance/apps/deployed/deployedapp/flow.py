"""Points of two classes in six dimensions: the more of them a model sees, the better it tells them apart.

Where ``DEPLOYED_WITNESS`` names a file, each process that loads the data writes into it what it runs on.
"""

import importlib.metadata
import importlib.util
import json
import os
import sys

import numpy as np
from sklearn.linear_model import SGDClassifier

from deployedapp import release

WITNESS = os.environ.get("DEPLOYED_WITNESS", "")


def make_model():
    return SGDClassifier(loss="log_loss", alpha=1e-2, random_state=0)


def load_data(partition_index=0):
    """180 points of this device's own to train on, 60 to validate with."""
    _testify()
    generator = np.random.default_rng(100 + (partition_index or 0))
    labels = np.arange(240) % 2
    points = generator.normal(size=(240, 6)) + (labels * 2 - 1)[:, None] * 0.5
    points[:, release.FEATURES :] = 0.0
    points = points.astype(np.float32)
    return (points[:180], labels[:180]), (points[180:], labels[180:])


def _testify():
    if not WITNESS:
        return
    found = {
        "release": release.NAME,
        "file": __file__,
        "prefix": sys.prefix,
        "program": sys.orig_argv[1:4],
        "tabulate": _version("tabulate"),
    }
    with open(WITNESS, "a", encoding="utf-8") as file:
        file.write(json.dumps(found) + "\n")


def _version(name):
    if importlib.util.find_spec(name) is None:
        return ""
    return importlib.metadata.version(name)

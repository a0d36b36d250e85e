"""FedOps: federated learning, operated. Apps import from ``fedops.app``."""

from fedops.old_names import install as _find_old_names

__version__ = "2.0.0.dev0"

_find_old_names()

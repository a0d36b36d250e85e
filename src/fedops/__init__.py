"""FedOps: federated learning, operated."""

__version__ = "2.0.0.dev0"

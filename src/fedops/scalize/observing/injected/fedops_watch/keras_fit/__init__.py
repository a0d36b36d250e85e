"""Hooks on Keras 3, on any backend: ``Model.fit`` is what trains, by whatever ``train_step``."""

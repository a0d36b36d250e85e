"""Hooks on scikit-learn: the outermost ``fit`` or ``partial_fit`` of an estimator is what trains."""

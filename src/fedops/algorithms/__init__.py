"""Federated arithmetic on named arrays: aggregation, clipping, partition, selection. numpy only."""

"""FedOps itself: the server's release reaches devices in waves, as a commit does."""

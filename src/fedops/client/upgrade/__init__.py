"""FedOps itself on a device: the server's release takes the place of the installed one, or does not."""

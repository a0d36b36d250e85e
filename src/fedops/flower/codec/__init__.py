"""FedOps' messages as Flower's, and back; what differs between Flower's versions."""

"""What the environments of devices are made of: wheels, chosen and fetched here; and FedOps' own index."""

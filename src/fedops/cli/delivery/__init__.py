"""Commands about how code reaches devices."""

"""Models, contribution and explanations."""

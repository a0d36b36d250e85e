"""One client's part in a round: train, keep checkpoints, explain. Knows neither Flower nor the server."""

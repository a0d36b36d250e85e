"""The methods, and what all of them need: a model taken apart, maps, scores, time."""

"""One run's server side: recruit, collect, check, aggregate, commit. No Flower, no web framework."""

"""An explainer at work: opened from a config, called after a round, in the background."""

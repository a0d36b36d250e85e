"""The process beside a run that scores its rounds: it has the framework, and the validation data."""

"""An app's own functions: found, given their arguments, called, their results read."""

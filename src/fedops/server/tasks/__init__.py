"""Tasks and the apps they are made of."""

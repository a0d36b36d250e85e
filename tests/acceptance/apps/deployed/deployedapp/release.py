"""What a commit changes."""

NAME = "A"
#: How many of the six features the model gets to see.
FEATURES = 1

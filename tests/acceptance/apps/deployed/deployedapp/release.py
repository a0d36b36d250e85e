"""What a commit changes."""

NAME = "A"
#: How many of the six features the model gets to see.
FEATURES = 1
#: Whether the labels of the training data are wrong.
WRONG = False

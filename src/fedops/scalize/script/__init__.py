"""A project's own command as the training of a round."""

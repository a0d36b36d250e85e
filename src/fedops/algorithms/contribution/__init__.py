"""What the update of each client was worth to the model: values of the clients in a cooperative game."""

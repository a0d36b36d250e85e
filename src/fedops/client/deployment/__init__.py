"""The code of the device's task, as the server wants it: made ready, tried, switched to, or rolled back."""

"""The threads that deliver code and keep training going."""

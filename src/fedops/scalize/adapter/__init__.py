"""What an adapter of a framework is, how it is found, and the checks that every one passes."""

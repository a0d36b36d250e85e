"""What Linux, macOS and Windows do differently. No other room calls what only one of them has."""

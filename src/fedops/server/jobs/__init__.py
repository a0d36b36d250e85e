"""What the server does by itself: start engines and watch them, notice what time alone brings about."""

"""What request handlers and pages work with: one set a Server Manager."""

"""Why something waits or has ended, as one sentence made of plain facts."""

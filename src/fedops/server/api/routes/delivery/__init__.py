"""What people and devices ask about code on its way, and about training that never stops."""

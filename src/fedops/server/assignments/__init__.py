"""What a device is asked to do: rows with states, and what is open."""

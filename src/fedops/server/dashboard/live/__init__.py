"""Pages that stay up to date: what they are made of, who looks at them, and what travels."""

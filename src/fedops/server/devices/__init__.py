"""Who is enrolled, who is there, who takes part in what, and what is wanted of each."""

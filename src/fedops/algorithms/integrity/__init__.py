"""Whether an update looks like honest training: scores, findings with evidence, and what follows."""

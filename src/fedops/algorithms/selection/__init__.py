"""Who takes part in a round: selectors by name, each a function of the histories of the candidates."""

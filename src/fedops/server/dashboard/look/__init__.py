"""How values look on a page: pure functions to text, states and SVG."""

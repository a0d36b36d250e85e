"""The pages, one module each: their data, their panels and their forms."""

"""One module a resource; each calls use cases and commits by returning."""

"""The HTTP API: ``routes`` say what there is, ``http`` how requests are read and errors answered."""

"""Files over HTTP: an ASGI app of its own, which knows the rest of the server by ``BlobAccess`` alone."""

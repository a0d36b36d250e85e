"""FLScalize: an existing project as a federated one, without an edit. No server, no Flower."""

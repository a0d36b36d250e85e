"""A federation of a few clients in one process, without server and Ray: what ``fedops ci`` plays."""

"""Messages need to know which Flower run they belong to."""

from flower_identity import flower_identity as flower_identity

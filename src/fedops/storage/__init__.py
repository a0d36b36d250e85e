"""Files: blobs by their sha256, safetensors, atomic writes. Imports ``core`` and nothing above."""

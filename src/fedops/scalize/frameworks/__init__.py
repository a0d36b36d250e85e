"""The adapters of PyTorch, Hugging Face, Keras and scikit-learn."""

"""A model version in a format that runs without FedOps and without the app: ONNX, TorchScript."""

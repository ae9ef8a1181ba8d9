"""What runs the network: PyTorch, onnxruntime, exported files; on which device, in how much memory."""

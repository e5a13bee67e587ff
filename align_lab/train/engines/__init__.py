"""Engines: sum gradients over processes, clip them and update the weights, in plain PyTorch or with DeepSpeed."""

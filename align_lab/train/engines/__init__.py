"""Engines: sum gradients over processes, clip them and update the weights, in plain PyTorch, FSDP or DeepSpeed."""

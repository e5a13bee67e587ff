"""The training loop, one for all algorithms, and the training of what it starts from."""

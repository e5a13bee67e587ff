"""What makes a model learn: gradients summed over processes, clipped, and the weights updated."""

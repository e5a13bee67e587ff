"""The loop, one for all algorithms, and the stages that come before it."""

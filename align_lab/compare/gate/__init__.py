"""Is an arm at most so much worse than a baseline? A test of training code that ends with a status."""

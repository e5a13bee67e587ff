"""Movie reviews with individual human ratings: the default task."""

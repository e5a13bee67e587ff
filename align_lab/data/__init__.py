"""Data sets: where examples, demonstrations and preference pairs come from."""

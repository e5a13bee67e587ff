"""A study on W&B: a workspace that follows its runs and a report of its comparison, made by code, updated in place."""

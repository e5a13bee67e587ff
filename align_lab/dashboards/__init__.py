"""A study on W&B: a workspace that follows its runs and a report of its comparison, both made by code and made again in place."""

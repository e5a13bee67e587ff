"""Other people's runs: files of W&B, TRL, OpenRLHF and verl, compared with the same statistics and marked as not
proven.

`reader` reads them, `section` compares them. Nothing shows that their data, reward, prompts and budget were equal, so
they never enter the verdict on proven runs: they have one of their own, which says so.
"""

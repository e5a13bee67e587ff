"""Other people's runs: files of W&B, TRL, OpenRLHF, verl and prime-rl, compared with the same statistics and marked as
not proven.

`reader` reads them, `section` compares them, and `settings` translates their configs. Nothing shows that their data,
reward and prompts were equal, so they never enter the verdict on proven runs: they have one of their own.
"""

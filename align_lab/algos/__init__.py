"""One algorithm per file: a frozen dataclass of hyper-parameters with `advantages` and `loss`.

A new algorithm is one new file here and one yaml under `conf/algo/`.
"""

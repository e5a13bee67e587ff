"""One paper a file: a frozen dataclass of hyper-parameters, `advantages` and `loss`. A new file and a yaml add one."""

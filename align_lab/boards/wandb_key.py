"""W&B's server, and whether there is a key for it, without asking the user.

The key is searched where wandb searches it: environment, netrc, `wandb login`.
"""

from __future__ import annotations

import wandb
from wandb.sdk.lib import wbauth


def address() -> str:
    """The server that wandb is configured for."""
    return wandb.setup().settings.base_url


def has_key() -> bool:
    """Is there a key, or an identity token? Raises wandb's AuthenticationError for one that is malformed."""
    return (
        wbauth.authenticate_session(host=address(), source="align_lab", prompt=False, update_session=False) is not None
    )


def silence() -> None:
    """Keep wandb's own messages off the terminal, for commands that print their own."""
    wandb.setup(settings=wandb.Settings(silent=True))

"""W&B's server, and whether there is a key for it. Looks where wandb looks (environment, netrc, `wandb login`), and asks nobody."""

from __future__ import annotations

import wandb
from wandb.sdk.lib import wbauth


def address() -> str:
    """The server that wandb is set up for."""
    return wandb.setup().settings.base_url


def has_key() -> bool:
    """Is there a key, or an identity token? Raises wandb's AuthenticationError for what cannot be one."""
    return (
        wbauth.authenticate_session(host=address(), source="align_lab", prompt=False, update_session=False) is not None
    )

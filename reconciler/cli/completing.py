"""What a shell completes beside options: the environments of `reconciler.yaml`, and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def environments(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The environments that are there, in the folder that -C names."""
    from reconciler.config import environment_names

    folder = Path(ctx.find_root().params.get("folder") or ".")
    return [name for name in environment_names(folder) if name.startswith(incomplete)]


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell knows them."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]

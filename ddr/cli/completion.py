"""`ddr completion`: the completion script for a shell."""

from __future__ import annotations

import click
from click import shell_completion


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for your shell.

    \b
    bash: ddr completion bash > ~/.local/share/bash-completion/completions/ddr
    zsh:  ddr completion zsh > "${fpath[1]}/_ddr"
    fish: ddr completion fish > ~/.config/fish/completions/ddr.fish

    Exit codes: 0 printed, 64 unknown shell.
    """
    root = ctx.find_root()
    completer = shell_completion.get_completion_class(shell)
    assert completer is not None
    click.echo(completer(root.command, {}, "ddr", "_DDR_COMPLETE").source())

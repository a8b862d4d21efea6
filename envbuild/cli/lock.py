import click


@click.command()
def lock() -> None:
    """lock."""

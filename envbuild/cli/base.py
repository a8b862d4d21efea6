import click


@click.command()
def base() -> None:
    """base."""

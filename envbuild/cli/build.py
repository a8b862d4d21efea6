import click


@click.command()
def build() -> None:
    """build."""

import click


@click.command()
def up() -> None:
    """up."""

"""From what a repository asks for to exactly what it gets: ``Spec -> Lock``, and the lock's file."""

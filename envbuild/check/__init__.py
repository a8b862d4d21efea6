"""Would it run elsewhere? A linter for repositories with notebooks: nothing is run, nothing is built.

``rule.py`` has what a rule is, ``rules.py`` which there are; each of the other modules holds those of one
subject. ``checker.py`` asks them all. docs/check.md is for people.
"""

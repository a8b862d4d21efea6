"""The outputs of notebooks: read, compared with those of another run, shown, accepted.

``notebook`` reads what is stored, ``conventions`` what a cell's author said about checking it, ``prepare``
makes the copy that is executed; ``compare`` judges two cells with ``text`` (and its ``tokens``),
``structures`` and ``pictures``; ``reproduce`` does all of it for a repository, ``page`` shows the result, and
``accept`` writes it into the notebooks.
"""

"""Where images run: bubblewrap (embedded) and Docker, behind one Protocol."""

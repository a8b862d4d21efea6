"""How this machine reaches the network: the user's indexes and credentials, and staying off it on request."""

"""The hub contract: what hubs need of an image, as tests that any image can be held to."""

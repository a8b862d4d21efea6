"""Looking at an image wherever it is, whoever made it, without fetching its layers."""

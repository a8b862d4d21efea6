"""What is in artifacts and in images made of them, told by themselves."""

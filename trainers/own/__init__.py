"""What a study's own file adds to this package: which file, what it is known by, and how workers come to have it."""

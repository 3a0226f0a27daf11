"""Data sets by name, as arrays: real ones that come with packages and generated ones."""

"""The contract of a model family, and the built-in families, one file each."""

"""Ways in, one file a format; each yields records that are then decoded once."""

"""Where images come from: the catalog, its sources, prepared arrays and splits."""

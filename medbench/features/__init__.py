"""Image -> vector extractors, shared by the families, with their cache."""

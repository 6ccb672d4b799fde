"""One neutral search space, several tuners, one budget."""

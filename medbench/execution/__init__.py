"""From a plan to finished cells: what runs, where, and in which environment."""

"""Metrics, operating points and intervals, computed from stored per-image probabilities."""

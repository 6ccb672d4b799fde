"""The page of a model on 127.0.0.1: images dropped on it are classified, and never stored."""

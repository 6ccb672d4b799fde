"""What a run left is put to use: a new image is classified, a model explained, exported, served."""

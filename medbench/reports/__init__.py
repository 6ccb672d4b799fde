"""What people read of a run: leaderboard and figures, derived from stored predictions only."""

"""What every program of this project shares, whatever it does."""

"""Training candidates, scoring them without training, and timing them."""

"""What the figures are computed from, collected once from classifiers and images."""

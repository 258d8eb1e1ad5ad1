"""An audit in files, and back."""

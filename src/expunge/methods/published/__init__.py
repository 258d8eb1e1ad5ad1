"""The methods of other authors, one a file."""

"""Where images come from: one source a file, and the table of them."""

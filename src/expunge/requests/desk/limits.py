"""How much one upload may be, and how long things last."""

MOST_PICTURES = 200
MOST_BYTES = 64 << 20
"""Of one upload: pictures, table and form."""
MOST_TABLE_BYTES = 1 << 20
MOST_PIXELS = 25_000_000
"""Of one picture."""
MOST_PIXELS_TOGETHER = 200_000_000
FORM_BYTES = 1 << 20
"""Of a form without files."""
DECODING_SECONDS = 60
DECODING_BYTES = 2 << 30
"""Of memory that decoding may take beyond what its process had."""
DRAFT_DAYS = 7
"""A draft that nobody made a request of is deleted after so many days."""
LONGEST_SESSION = 12 * 3600.0
"""Seconds."""

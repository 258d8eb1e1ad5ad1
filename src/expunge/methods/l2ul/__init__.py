"""L2UL: the stable variant, the released loop, and weight importance."""

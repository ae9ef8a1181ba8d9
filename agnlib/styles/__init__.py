"""What a style is given by, and its code."""

"""The ops in Triton; each file is imported when its kernel first runs."""

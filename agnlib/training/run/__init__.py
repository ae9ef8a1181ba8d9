"""`agnlib train` as a whole."""

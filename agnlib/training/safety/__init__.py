"""What keeps a training from losing its work."""

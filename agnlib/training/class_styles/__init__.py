"""Styles by name: how weights learn them after a training."""

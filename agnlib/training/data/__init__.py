"""Batches of photographs and references."""

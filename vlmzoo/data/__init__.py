"""Data: images, conversations, processors, sources and synthetic tasks."""

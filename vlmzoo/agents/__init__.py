"""Agents: inference that calls a model several times, and keeps a record of what it did."""

"""Modules that know no system: encoders, projectors, language models."""

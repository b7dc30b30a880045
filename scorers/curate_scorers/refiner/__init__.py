"""Trains refiners: small language models that learn from examples of prompts and answers."""

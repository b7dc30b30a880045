"""A user's file that cannot be loaded."""

raise ValueError("no luck")

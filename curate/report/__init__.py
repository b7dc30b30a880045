"""The run report: what came in, what was dropped and why, as JSON, as a page and as text."""

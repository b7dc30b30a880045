"""The pages of the service: templates, styles, small scripts, and the drawings in them."""

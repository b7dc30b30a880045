"""Where runs go on: as processes of this machine, or as jobs of a Ray cluster."""

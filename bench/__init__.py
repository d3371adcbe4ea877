"""How fast the service is, as ratios to what the hardware allows, measured in the same run."""

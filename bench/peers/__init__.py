"""What one would use instead, set up as fairly as we can, measured in the same run."""

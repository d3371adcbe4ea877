"""Configuration as code: what files say there should be, compared with what there is, and done."""

"""What Darkroom's containers need beside its programs."""

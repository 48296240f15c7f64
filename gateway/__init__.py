"""HTTP in, jobs out. Never sees a tensor."""

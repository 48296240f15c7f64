"""A message in, a stored answer out. Serves no HTTP."""

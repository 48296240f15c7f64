"""The figures: a file for each, which measures it."""

"""Other servers, to measure against."""

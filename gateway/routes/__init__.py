"""The handlers, a file per resource."""

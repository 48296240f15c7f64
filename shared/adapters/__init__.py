"""The one place that knows Redis, and how Celery's messages look."""

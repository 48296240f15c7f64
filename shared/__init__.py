"""The contract between gateway and worker: jobs, their store, their errors. Imports neither."""

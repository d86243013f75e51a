"""Who executes tasks: this process, its threads, or a Dask cluster."""

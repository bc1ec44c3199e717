"""Server on more than one machine: jobs in PostgreSQL, files in an object store or a shared directory.

Nothing here is imported without `serve --database`; it needs the extra `cluster`.
"""

"""Orders over HTTP, kept in PostgreSQL: the example backend of nectar.backend."""

__version__ = "1.0.0"

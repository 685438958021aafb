"""Orders over HTTP, kept in PostgreSQL: the example backend of nectar.backend."""

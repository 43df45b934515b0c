"""The price store: Delta tables, replaced atomically, readable at any version, backed up."""

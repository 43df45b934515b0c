"""The price store: Delta tables that are replaced atomically, read at any version, and backed up."""

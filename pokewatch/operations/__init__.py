"""What runs at night, and what keeps an installation well."""

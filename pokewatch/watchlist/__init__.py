"""The user's own cards: read, valued, edited, imported, and judged against their targets."""

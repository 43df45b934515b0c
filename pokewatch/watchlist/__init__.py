"""The user's own cards: read, valued, edited, imported, and watched for targets."""

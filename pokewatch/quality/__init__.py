"""What is accepted, held back or refused, and the way of a delivery into the store."""

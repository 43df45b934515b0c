"""The market and its cards as an analyst holds them, and the questions asked of them."""

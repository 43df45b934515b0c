"""The prediction service: HTTP routes that call the package, and what guards them."""

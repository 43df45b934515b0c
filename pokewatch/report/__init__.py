"""The nightly report: facts, sections and the one HTML page."""

"""The worker side of the package."""

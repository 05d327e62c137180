"""Write a `pipe` module as one Python function."""

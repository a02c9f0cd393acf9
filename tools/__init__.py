"""What makes generated files, and runs the tests."""

"""Our configuration as YAML with comments, and the directory that it comes in."""

"""What there is to work with: node classes, model files, and workflow templates to start from."""

"""The recipe: one YAML file for all commands, read, checked and saved here; never imports torch."""

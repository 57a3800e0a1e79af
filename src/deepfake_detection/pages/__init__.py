"""What every page of the project is made of: one look, no script, nothing from outside."""

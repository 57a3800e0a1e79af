"""What every page of the project is made of: one look, nothing from outside."""

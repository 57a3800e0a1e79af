"""How every figure of the project looks."""

"""Studies: many runs become one table, its figures and one page."""

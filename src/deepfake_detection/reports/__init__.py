"""One style for all figures, and one document builder for the report and the studies' pages."""

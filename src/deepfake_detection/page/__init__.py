"""A local web page on which a detector scores images."""

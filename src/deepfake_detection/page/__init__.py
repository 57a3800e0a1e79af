"""A local web page on which a detector scores pictures and clips."""

"""What the catalog reads and writes that kedro-datasets lacks."""

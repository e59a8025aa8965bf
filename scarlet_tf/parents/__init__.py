"""Parents: networks with trained weights, from which a search starts."""

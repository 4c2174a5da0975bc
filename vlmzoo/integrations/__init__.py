"""One module for each optional package: the only places that import them."""

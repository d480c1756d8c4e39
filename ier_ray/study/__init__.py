"""Human annotation study: images for annotators, and what their answers say of a model."""

"""Layer-wise interpretability: how far the classes lie apart in each layer (paper 3.4.2)."""

"""What computes: sources, selection, the families of models, and the stages that use them."""

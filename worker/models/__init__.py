"""The families of models, one module each."""

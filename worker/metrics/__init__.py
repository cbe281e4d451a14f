"""How far synthetic images are from real ones: one module for each metric, arrays in, numbers out."""

"""Layers and networks that families are built of; TensorFlow is loaded here and not before."""

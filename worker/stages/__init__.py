"""One module per verb. Stages never import each other: what one leaves in the store, the next reads."""

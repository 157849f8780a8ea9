"""Networks whose sub-models are prefixes: the layers, the norm policies, and the exchange to and from plain ones."""

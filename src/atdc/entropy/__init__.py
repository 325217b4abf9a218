"""Numbers that must agree: the probability tables of the entropy coder, made once and kept as integers."""

"""How curves of rate and utility are compared."""

"""Which probability describes each symbol: integers from decoded integers, and the float model that trains them."""

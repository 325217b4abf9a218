"""Which probability describes each symbol: integers from decoded integers, and the float twin that trains them."""

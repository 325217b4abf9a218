"""Choosing graphs: what pairs and graphs cost, and each image's graph by a search setting. Encoders alone do so."""

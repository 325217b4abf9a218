"""The networks: image encoders, task heads, the predictor, the transforms of the codec, the rate estimator."""

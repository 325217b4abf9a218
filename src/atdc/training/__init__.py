"""Training: stages from rendered rooms to shipped weights, each resumable after a kill."""

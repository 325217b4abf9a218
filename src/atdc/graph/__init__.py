"""Task graphs: which task is predicted from which, how that is chosen, and how a graph becomes a number."""

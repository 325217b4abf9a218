"""The evidence for ATDC: what it is compared with, what is measured, and the pages that say so.

The product, :mod:`atdc`, works without it; ``atdc bench`` runs it.
"""

"""Posterior-guided one-shot neural architecture search: reproduction and benchmark suite.

Importing the package itself costs nothing: torch is loaded only by the modules that compute.
"""

__version__ = "0.1.0"

"""NASLib's own optimisers on our table of NAS-Bench-201, from a checkout: docs/rivals.md."""

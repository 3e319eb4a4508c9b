"""NAS-Bench-201's network as a supernet: operations, cells that mix them, estimators, scoring."""

"""NAS-Bench-201's network as a supernet: operations, cells that mix them, estimators, scoring."""

from pdnas.nn.supernets.cells.network import NasBench201Supernet

__all__ = ["NasBench201Supernet"]

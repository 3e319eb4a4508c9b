"""NAS-Bench-Macro's network as a supernet: blocks, layers that mix them, scoring."""

from pdnas.nn.supernets.macro.network import NasBenchMacroSupernet

__all__ = ["NasBenchMacroSupernet"]

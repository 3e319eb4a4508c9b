"""The stages of a run; each reads all, computes, writes all."""

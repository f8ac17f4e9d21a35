"""Papers of this family."""

"""Training: a state, one step, one loop; the same step on one device or many."""

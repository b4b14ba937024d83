"""What the benchmarks share: environments for peers, the machine they ran on, claims and their intervals."""

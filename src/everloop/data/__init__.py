"""Sources, the contract, the versioned table, and the panel that models see."""

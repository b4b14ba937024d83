"""Pure statistics on arrays: intervals, conformal quantiles, sequential comparison."""

"""Sales are not demand: which periods are marked as stock-outs, closed days, returns, outliers or wrong prices."""

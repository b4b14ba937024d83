"""How good forecasts are, how long they take, and how much memory."""

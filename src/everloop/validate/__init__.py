"""The backtest, its metrics, and the gates that a candidate passes before release."""

"""What synthetic rows and released models tell about the rows behind them."""

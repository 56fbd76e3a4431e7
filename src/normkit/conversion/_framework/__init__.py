"""How a conversion runs: what a rule is, search, order, fitting, verification, recipe. The rules stand beside it."""

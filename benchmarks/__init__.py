"""Speed, side by side with what a user would pick instead. `make benchmark` runs all; the results are ratios."""

"""Speed, side by side with what a user would pick instead. `make benchmark` runs all; ratios of medians are the result."""

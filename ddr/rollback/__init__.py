"""Live and target to a plan that fits, and its application. Planning is pure."""

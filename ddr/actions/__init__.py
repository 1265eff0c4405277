"""The catalog: YAML verb to typed function. Each verb knows what it touches and how it is undone."""

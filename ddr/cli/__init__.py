"""Arguments, one call, text or JSON; one file a command group. Decides nothing about the domain."""

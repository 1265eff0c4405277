"""Files by glob, with what git and DVC know about them."""

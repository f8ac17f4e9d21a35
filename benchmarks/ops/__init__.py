"""How fast every op is: a file per op, each a list of figures beside a strong baseline."""

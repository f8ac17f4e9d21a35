"""What mixers share: forms written once, norms, features, positions. No mixer itself."""

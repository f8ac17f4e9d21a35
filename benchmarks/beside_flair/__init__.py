"""Our tagger beside Flair's, which lives in an environment of its own."""

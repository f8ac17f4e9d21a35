"""The loop that trains recurrent models, and what it leaves in a run folder."""

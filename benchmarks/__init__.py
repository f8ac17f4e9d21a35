"""What is fast where: `python -m benchmarks.NAME`, always beside a strong baseline in one run."""

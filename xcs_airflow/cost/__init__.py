"""What a run is expected to cost and to take: prices, tokens, latency, and their sum over a graph."""

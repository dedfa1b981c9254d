"""What is worth arguing about, in pure Python: what is told, to whom, in which words, how often it is tried, signatures."""

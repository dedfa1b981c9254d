"""What is worth arguing about, in pure Python: bucketing, evaluation, census arithmetic, gates."""

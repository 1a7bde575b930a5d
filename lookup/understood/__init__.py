"""What a query says beside what it looks for: prices, ratings, values, and what is not wanted."""

"""Products as questions: similar ones, and searches that know what a shopper looked at."""

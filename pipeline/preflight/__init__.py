"""What would make a run or a training fail, or end as nobody meant it, found before anything is encoded."""

"""What a run says of itself: notices, the report that it leaves, and the page of its indexes."""

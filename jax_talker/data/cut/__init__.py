"""What belongs to the head. In: frames and landmarks. Out: the head on white and its upper, lower and head masks."""

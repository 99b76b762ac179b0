"""What says of a video that it was made by this program: an invisible mark, and signed content credentials."""

"""The order of all this. In: a video and options. Out: a finished clip folder."""

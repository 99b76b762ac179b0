"""What training sees. In: a clip folder. Out: FrameBatches, drawn as a pure function of seed and step."""

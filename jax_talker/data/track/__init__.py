"""Whose face is where. In: frames. Out: landmarks of one person, frame by frame, with blink, gaze and shot borders."""

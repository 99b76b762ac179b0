"""What a talking head hears: sound → feature steps, by extractors that all stand behind one door (extractor.py)."""

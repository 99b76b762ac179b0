"""Judging: what is rendered against what was filmed, metric by metric, and the tables of it.

pictures (what is judged) · score (a number, or why there is none) · meters, image_meters, face_meters, … (one metric
each, fed frame by frame) · weights (the files that networks need) · catalogue (metrics by name) · judge (the loop) ·
provenance, tables (output)
"""

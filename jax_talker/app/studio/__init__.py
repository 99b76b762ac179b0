"""A page in a browser that makes videos: whose head, which words, which camera; one video after the other."""

"""A trained head in a browser: what its sliders mean, what is drawn, what is heard, and the page (viser) itself."""

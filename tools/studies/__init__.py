"""The claims of the papers, measured again at a small size: one module for each kind of study."""

"""One-shot evaluation: accuracy and loss of a supernet's paths, and of networks, on labelled images."""

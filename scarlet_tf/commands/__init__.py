"""What each command of `scarlet` does: it calls the library and prints. TensorFlow is imported inside the calls alone."""

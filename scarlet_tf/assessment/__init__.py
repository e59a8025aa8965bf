"""Assessment: one-shot against stand-alone accuracies of the same networks, and searches against each other."""

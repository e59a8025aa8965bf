"""How well one-shot accuracies order networks: Kendall's tau against networks that were trained on their own."""

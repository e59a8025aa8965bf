"""Ranking quality of one-shot accuracies: Kendall's tau against networks that were trained on their own."""

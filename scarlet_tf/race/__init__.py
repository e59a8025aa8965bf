"""Races: finalists of a search and honest rivals, trained on until the best is left. See docs/design/race.md."""

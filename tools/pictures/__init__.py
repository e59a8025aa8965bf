"""The pictures of docs/concepts."""

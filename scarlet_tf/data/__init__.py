"""Images with labels: sources, splits and the preprocessing that training and the exported files share."""

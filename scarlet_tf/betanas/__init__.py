"""BetaNAS (Fang et al., 2019): importances of a supernet's choices, trained beside its weights."""

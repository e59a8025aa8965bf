"""Networks that others describe, as NetworkSpec or Architecture; docs/foreign.md has the formats. No framework here."""

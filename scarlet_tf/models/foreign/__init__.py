"""Networks in other projects' formats, as NetworkSpec or Architecture; docs/foreign.md has the formats. No framework here."""

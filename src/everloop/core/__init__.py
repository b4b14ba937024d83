"""What every stage stands on: errors, clock, identifiers, digests, seeds, settings."""

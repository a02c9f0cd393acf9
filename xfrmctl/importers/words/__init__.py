"""Words of theirs -> words of ours: proposals, identities, selectors, times."""

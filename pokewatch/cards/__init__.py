"""Which card is meant: ids, aliases, spellings and words, all leading to one card id."""

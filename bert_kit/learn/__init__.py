"""Build your own BERT: stubs to fill in, and the kit as the examiner."""

"""Files to rows: lines of text, tables, tagged words, questions, documents."""

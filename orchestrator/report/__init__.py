"""From the tracker alone to tables, figures and one page. Nothing is run again."""

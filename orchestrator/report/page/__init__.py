"""The page of a report: one file that needs no network, read on a screen of any size, on paper and by keyboard."""

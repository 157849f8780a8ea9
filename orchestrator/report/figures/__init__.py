"""Figures that say one thing each: one kind per file, all in the same styles; `drawings` says which a study gets."""

from orchestrator.report.figures.budget import averages_over_budget, crossings
from orchestrator.report.figures.drawings import drawings

__all__ = ["averages_over_budget", "crossings", "drawings"]

"""What is compared: one declarative file per study. This package alone knows both the engine and the trainers."""

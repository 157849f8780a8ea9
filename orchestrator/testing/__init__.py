"""Contract suites that whoever writes a part for the engine can put it through, as optuna's are for its storages."""

"""Plan → run → track → report, for any trainer that keeps the contract in `orchestrator.trainer`."""

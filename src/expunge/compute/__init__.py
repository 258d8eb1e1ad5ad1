"""How work over images runs: device, batches, processes, seeds, time and cost."""

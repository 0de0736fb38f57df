"""The page of a run: `sim_build/report/index.html`."""

"""Every page of the repository for Sphinx's link check: `make links` follows the links to other sites.

The links among the pages are a test (tests/docs). Nothing is rendered, and no notebook is run.
"""

project = "expunge"
extensions = ["myst_nb"]
nb_execution_mode = "off"
root_doc = "README"
include_patterns = ["*.md", "benchmarks/**.md", "docs/**.md", "docs/**.ipynb"]
exclude_patterns = ["docs/api.md"]  # made of docstrings, which hold no links
suppress_warnings = ["myst", "toc", "misc", "image"]

linkcheck_timeout = 30
linkcheck_retries = 3
linkcheck_workers = 3
linkcheck_rate_limit_timeout = 120
linkcheck_anchors = False
linkcheck_report_timeouts_as_broken = True
linkcheck_allow_unauthorized = True

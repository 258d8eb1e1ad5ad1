"""Deletion requests, one by one, over years: what was asked, what was done, and the way back.

`chain`, `database`, `state`, `keys`, `project` and `verify` need no torch.
"""

"""A desk for a project's requests: pages and a REST API on this machine, and one worker process for what takes long.

`app` needs no torch; `work` and `decoding` run in processes of their own.
"""

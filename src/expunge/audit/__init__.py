"""What an edit did: pure metrics over stored predictions, and the folder of files that a report is made from.

Nothing is imported here, so that `expunge.audit.record` can be read without torch.
"""

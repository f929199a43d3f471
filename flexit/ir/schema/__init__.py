"""The schema phase: does the document say fields and kinds that exist, with values they take?"""

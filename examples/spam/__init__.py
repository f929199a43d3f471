"""Spam told from mail that is wanted, learned from scratch."""

"""The parts of an augmentation study: do synthetic images help a classifier?"""

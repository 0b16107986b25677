"""What the workers of the sensor pipelines share: CSV rows, windows and their embeddings, labelled examples.

Only worker processes import it: it needs numpy.
"""

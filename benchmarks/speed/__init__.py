"""Speed on any device: `python -m benchmarks.speed`, and beside other libraries `python -m benchmarks.speed.peers`.

The first needs torch, torchvision and Pydantic with their dependencies, and none of Kedro, pandas or scikit-learn.
`--device cpu --tiny` runs every section in a minute or two without a GPU; its numbers mean nothing.
"""

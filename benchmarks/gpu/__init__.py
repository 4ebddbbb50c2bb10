"""What one GPU makes of this package: `python -m benchmarks.gpu --data FOLDER --out gpu.json`.

Needs torch, torchvision, torchmetrics and Pydantic, with what they bring, and of this package the floor `learning`
alone. `--device cpu --tiny` walks every section in a minute or two without a GPU: its numbers mean nothing.
"""

"""The networks, for images of 32 x 32 pixels or so: `build(Architecture(kind="vgg19", width=0.5), classes=10, …)`."""

"""From a network and images to trained weights."""

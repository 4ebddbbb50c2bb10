"""How time and memory grow with images, members, processes, and with a file larger than memory."""

"""How a detector is made: augmentation on the device, optimisation, the loop."""

"""What the encoders made of networks share: devices, batches of tokens, pixels, states."""
